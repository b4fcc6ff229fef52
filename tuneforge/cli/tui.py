"""``tuneforge tui``."""

from importlib import import_module

from tuneforge.cli.options import SPEC, SpecPath, WorkspacePath


def tui(spec: SpecPath = SPEC, *, workspace: WorkspacePath = None) -> None:
    """Open the cockpit; closing it stops nothing."""
    # By name: the cockpit builds on the engine, which must not know it.
    import_module("tuneforge_tui.app").open_cockpit(spec, workspace)
