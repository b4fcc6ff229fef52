"""Renderings: records through a chat template and a tokenizer, with exact loss masks."""

# Raised when the same record would be rendered differently: earlier rows are not reused then.
VERSION = 2
