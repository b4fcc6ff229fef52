"""Will a train step fit: its peak memory, told from the model's config, against a device."""

from tuneforge.fit.architecture import UnknownArchitecture
from tuneforge.fit.estimate import Estimate, estimate
from tuneforge.fit.sizes import parse_size, size_text
from tuneforge.fit.verdict import Verdict, verdict

__all__ = [
    "Estimate",
    "UnknownArchitecture",
    "Verdict",
    "estimate",
    "parse_size",
    "size_text",
    "verdict",
]
