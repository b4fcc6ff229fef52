"""Merges written for mergekit 0.1.5: read as YAML, converted to a spec."""
