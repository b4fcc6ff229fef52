"""The engine: plan, cache, runs, training, merge, evaluation, export and the command line."""

__version__ = "0.1.0"
