"""Talking to a model in the terminal: which model is meant, and the turns so far. No torch."""
