"""Verification: every export is compared with the weights and the tokenizer it came from."""
