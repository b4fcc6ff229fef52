"""Run in a mount namespace of its own: a project on a disk that fills up, or that is read-only.

`unshare -rm python small_disk.py PROJECT CASE`; root gets ENOSPC and EROFS here as anyone does.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from light_project import LightProject

MIB = 1 << 20
PAGE = 4096


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def filled(disk: Path, free: int) -> Iterator[None]:
    """Take what is free on a disk but for ``free`` bytes."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        left = shutil.disk_usage(disk).free - free
        while left > 0:
            left -= file.write(bytes(min(left, MIB)))
    try:
        yield
    finally:
        filler.unlink()


def fill_at(project: LightProject, step: str, needs: tuple[str, ...], free: int) -> None:
    """Build what a step needs, fill the disk, see the step fail, make room, see it succeed."""
    project.workspace.mkdir()
    mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(project.workspace))
    for needed in needs:
        project.good("build", "--only", needed)
    kind = step.partition(".")[0]
    with filled(project.workspace, free):
        project.bad(6, step, "space" if kind == "merge" else "disk is full", unmade=(kind,))
    project.builds_well()


def standalone(project: LightProject) -> None:
    """Merge and export without a build, onto a full disk."""
    disk = project.folder / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk))
    with filled(disk, 10 * PAGE):
        project.bad(6, "disk", words=["merge", "spec.toml", "-o", "disk/merged"])
        assert [path.name for path in disk.iterdir()] == ["filler"]
        words = ["export", "base", "-o", "disk/exported", "--format", "safetensors"]
        project.bad(6, "disk", words=words)
        assert [path.name for path in disk.iterdir()] == ["filler"]
    project.good("merge", "spec.toml", "-o", "disk/merged")


def read_only(project: LightProject) -> None:
    """A workspace of which nothing may be written, not even by root."""
    project.good("build", "--only", "dataset.d")
    place = str(project.workspace)
    mount("--bind", place, place)
    mount("-o", "remount,bind,ro", place)
    project.bad(6, place, "--workspace")
    assert "dataset.d" in project.good("plan").out
    assert project.sql("SELECT count(*) FROM d") == [["40"]]
    mount("-o", "remount,bind,rw", place)
    project.builds_well()


def main(folder: Path, case: str) -> None:
    project = LightProject(folder)
    match case:
        case "curation":
            fill_at(project, "dataset.d", ("source.data",), 2 * PAGE)
        case "merge":
            fill_at(project, "merge.m", ("dataset.d", "base"), 16 * PAGE)
        case "export":
            fill_at(project, "export.x", ("dataset.d", "merge.m"), PAGE)
        case "standalone":
            standalone(project)
        case "read-only":
            read_only(project)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
