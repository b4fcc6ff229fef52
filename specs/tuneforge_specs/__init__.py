"""The spec of a build: models, loader and errors. Light: no data, no torch."""
