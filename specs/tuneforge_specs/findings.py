"""What the checks across a spec's tables report."""

from dataclasses import dataclass

from tuneforge_specs.keypath import KeyPath


@dataclass(frozen=True)
class Finding:
    """One thing wrong, or without effect, at ``path``."""

    path: KeyPath
    message: str
    fix: str = ""
