"""The model card: where a model came from, told from the manifests of what made it."""
