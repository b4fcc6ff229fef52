"""A project that builds from raw data to an export in seconds, and what must hold of it always."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from light_model import write_adapter, write_base

from tuneforge.manifest import compare, read_manifest

SPEC = """\
spec = 1

[build]
name = "light"

[sources.data]
path = "data.jsonl"

[datasets.d]
from = [{ source = "data" }]
filters = [{ kind = "length", of = "completion", unit = "words", min = 2 }]
split = { eval = 0.2 }
template = { chat = "chatml", max_tokens = 128 }

[base]
model = "base"

[merge.m]
method = "lora"
inputs = [{ adapter = "adapter" }]

[export.x]
model = "m"
format = "safetensors"
"""
TRAIN = """
[train.t]
method = "sft"
dataset = "d"
adapter = { kind = "lora", r = 4, dropout = 0.1 }
args = { max_steps = 12, micro_batch = 2, checkpoint_every = 3, gradient_checkpointing = false }
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """What ``--json`` printed."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class LightProject:
    """A folder with spec, data, base and adapter, and the workspace beside them."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, rows: int = 40, spec: str = SPEC) -> "LightProject":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.toml").write_text(spec)
        write_rows(folder / "data.jsonl", rows)
        write_base(folder / "base")
        write_adapter(folder / "adapter")
        return cls(folder)

    @property
    def workspace(self) -> Path:
        return self.folder / ".tuneforge"

    def edit(self, old: str, new: str) -> None:
        """Replace one part of the spec."""
        spec = (self.folder / "spec.toml").read_text()
        assert spec.count(old) == 1, old
        (self.folder / "spec.toml").write_text(spec.replace(old, new))

    def start(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        threads: int = 0,
    ) -> subprocess.Popen[str]:
        """Start a command; ``before`` is what it is started through (a namespace, a limit)."""
        cores = os.sched_getaffinity(0)
        # a build takes as many threads as it has cores, and a child has its parent's
        os.sched_setaffinity(0, set(sorted(cores)[:threads]) if threads else cores)
        try:
            return subprocess.Popen(
                [*before, sys.executable, "-m", "tuneforge", *words],
                cwd=self.folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, cores)

    def run(self, *words: str, **options: Any) -> Done:
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=300)
        return Done(process.returncode, out, err)

    def good(self, *words: str, **options: Any) -> Done:
        """Run a command that must end well."""
        done = self.run(*words, **options)
        assert done.code == 0, f"{words}: {done.code}\n{done.out}\n{done.err}"
        return done

    def bad(
        self,
        code: int,
        *said: str,
        words: Sequence[str] = ("build",),
        unmade: Sequence[str] = (),
        **options: Any,
    ) -> Done:
        """Run a command that must fail as a user is owed: code, place, fix, and nothing left.

        Artifacts of the kinds in ``unmade`` must not become more.
        """
        before = {kind: self.made(kind) for kind in unmade}
        done = self.run(*words, **options)
        assert done.code == code, f"{words}: {done.code}\n{done.out}\n{done.err}"
        for part in said:
            assert part in done.err, f"{part!r} is not said in\n{done.err}"
        assert done.err.startswith("error: "), done.err
        assert "fix: " in done.err, done.err
        assert {kind: self.made(kind) for kind in unmade} == before
        assert "Traceback" not in done.out + done.err
        assert "which is a bug" not in done.err
        self.is_sound()
        return done

    def made(self, kind: str) -> list[Path]:
        """The artifact folders of one kind of step."""
        return sorted((self.workspace / "artifacts" / kind).glob("*/*"))

    def is_sound(self) -> None:
        """Assert that what is visible is whole and nothing unfinished lies about."""
        for folder in (self.workspace / "artifacts").glob("*/*/*"):
            if (folder / "model").is_symlink():  # a base of the user's, to change as they like
                continue
            assert compare(folder, read_manifest(folder)) == [], folder
        assert not list((self.workspace / "tmp").glob("*")), "unfinished output"
        for link in (self.workspace / "exports").glob("*"):
            assert (link / "manifest.json").is_file(), link
        assert not [path for path in self.folder.glob(".*") if "partial" in path.name]

    def builds_well(self) -> None:
        """Assert that the workspace is of use: the spec as it was made builds to its end."""
        (self.folder / "spec.toml").write_text(SPEC)
        self.good("build")
        self.is_sound()
        self.good("verify", str(self.workspace / "exports" / "x"))
        assert self.sql("SELECT count(*) FROM d") == [["40"]]

    def sql(self, query: str) -> list[list[str]]:
        """Query the store through the command line."""
        lines = self.good("sql", query, "--format", "csv").out.splitlines()
        return [line.split(",") for line in lines[1:]]

    def artifact(self, step: str) -> Path:
        """The current artifact folder of a step."""
        key = json.loads((self.workspace / "state" / "spec.toml.json").read_text())[step]
        kind, _, name = step.partition(".")
        return self.workspace / "artifacts" / kind / (name or kind) / key[:16]

    def digest(self, step: str) -> str:
        return str(read_manifest(self.artifact(step))["digest"])

    def restore(self, name: str) -> None:
        """Write the base or the adapter anew."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        {"base": write_base, "adapter": write_adapter}[name](self.folder / name)


def write_rows(file: Path, count: int) -> None:
    """Write instruction rows, all of them good and different."""
    rows = [
        {"prompt": f"Ask {n} of {n * 7919 % 1000}", "completion": f"Answer {n} is {n * n}, so."}
        for n in range(count)
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
