"""Evaluation: what held-out rows say about a model, beside its base. No torch."""
