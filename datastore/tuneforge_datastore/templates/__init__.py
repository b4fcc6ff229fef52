"""Chat templates: the shipped ones, the tokenizer's own, a Jinja file; rendering with spans."""
