"""Renderings: records through a chat template and a tokenizer, with exact loss masks."""
