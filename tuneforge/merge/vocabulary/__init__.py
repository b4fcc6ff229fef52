"""Merging models of different vocabularies: one tokenizer, and rows brought to its ids."""
