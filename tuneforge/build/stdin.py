"""Standard input as a source: kept in the workspace, so that a plan can hash it."""

import os
import sys

from tuneforge_specs.sources import PathSource
from tuneforge_specs.spec import Spec

from tuneforge.plan.builder import stdin_path
from tuneforge.plan.files import STDIN
from tuneforge.workspace import Workspace

BLOCK = 1 << 20


def spool(spec: Spec, workspace: Workspace) -> None:
    """Keep what is piped in, where a source reads it; with a terminal the last one is used."""
    if not any(_reads(source) for source in spec.sources.values()) or sys.stdin.isatty():
        return
    workspace.create()
    place = stdin_path(workspace)
    temporary = place.with_name(f"stdin.{os.getpid()}")
    with temporary.open("wb") as file:
        size = 0
        while block := sys.stdin.buffer.read(BLOCK):
            size += file.write(block)
    if size:
        temporary.replace(place)
    else:
        temporary.unlink()


def _reads(source: object) -> bool:
    if not isinstance(source, PathSource):
        return False
    return STDIN in ((source.path,) if isinstance(source.path, str) else source.path)
