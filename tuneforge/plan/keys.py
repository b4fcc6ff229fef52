"""Step keys: what identifies an output before it exists."""

from collections.abc import Mapping
from importlib import import_module

from tuneforge.digest import value_digest
from tuneforge.step import Step
from tuneforge.steps import STEPS

DETERMINISTIC = frozenset({"source", "dataset", "render"})


def step_version(kind: str) -> int:
    """Read the code version of a step kind."""
    return int(import_module(STEPS[kind]).VERSION)


def step_key(step: Step, version: int, inputs: Mapping[str, str], files: Mapping[str, str]) -> str:
    """Hash all that a step's output depends on.

    ``inputs`` maps a role to the digest of the artifact in it, ``files`` a role to the digest of
    the file, in reading order.
    """
    return value_digest(
        {
            "kind": step.kind,
            "params": dict(step.params),
            "inputs": dict(inputs),
            "files": [[role, digest] for role, digest in files.items()],
            "version": version,
        }
    )
