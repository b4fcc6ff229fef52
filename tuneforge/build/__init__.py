"""Carrying a plan out: steps, artifacts, gates, the lock file and the event log."""
