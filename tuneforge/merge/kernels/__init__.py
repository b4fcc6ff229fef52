"""Compiled loops of the merge. Importing a module here loads numba: import it where it is used."""
