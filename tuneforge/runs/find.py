"""Which run a person means."""

from pathlib import Path

from tuneforge_specs.errors import UsageError

from tuneforge.runs.folder import RunFolder


def find_run(workspace: Path, name: str) -> Path:
    """Return the folder of a run: a path, a step id (its newest run), or "" for the one that runs.

    Raises UsageError, naming what there is, where none or several fit.
    """
    if name and (Path(name) / "job.json").is_file():
        return Path(name).absolute()
    everything = sorted(
        (path.parent for path in workspace.absolute().glob("runs/*/*/job.json")),
        key=lambda folder: (folder / "job.json").stat().st_mtime,
    )
    if name:
        step, _, key = name.partition("/")
        fitting = [f for f in everything if f.parent.name == step and f.name.startswith(key)][-1:]
    else:
        fitting = [folder for folder in everything if RunFolder(folder).alive()]
    if len(fitting) == 1:
        return fitting[0]
    shown = fitting or everything
    names = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in shown[-8:])
    if fitting:
        raise UsageError(f"{len(fitting)} runs are going on: {names}", "name one of them")
    raise UsageError(
        f"{workspace}: no run is called {name!r}" if name else f"{workspace}: nothing is running",
        f"runs there: {names}" if names else "`tuneforge build SPEC` starts one",
    )
