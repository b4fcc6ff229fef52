"""The plan of a build: a value that says what will run and why, before anything does."""
