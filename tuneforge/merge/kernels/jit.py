"""Compile functions with numba: without the GIL, without reordering, cached where possible.

No fast-math: each addition happens in the order written, so results do not depend on how a loop
was vectorised.
"""

from tuneforge_datastore.compiling import kernel

__all__ = ["kernel"]
