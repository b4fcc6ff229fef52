"""A merge without a build: the spec's [base] and [merge] tables, a folder for the result."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.base import ModelBase
from tuneforge_specs.errors import EnvironmentMissing, UsageError
from tuneforge_specs.loader import LoadedSpec
from tuneforge_specs.merge import (
    AdapterInput,
    AdapterMerge,
    GreedySoupMerge,
    Merge,
    MergedInput,
    ModelInput,
)

from tuneforge.digest import file_digest, value_digest
from tuneforge.merge.execute import merge_into, plan_from
from tuneforge.merge.lowrank import run as lowrank
from tuneforge.merge.lowrank.plan import AdapterPlan
from tuneforge.merge.plan import MergePlan
from tuneforge.merge.resolve import InputFolder, input_folder
from tuneforge.merge.run import Progress
from tuneforge.plan.hub import locate
from tuneforge.step import Reporter

_RUN = ".run"  # of a worker, in the folder that is being written


@dataclass(frozen=True)
class Standalone:
    """One merge of a spec, its base and inputs found."""

    name: str
    spec: Merge
    base: Path
    base_dtype: str
    inputs: tuple[InputFolder, ...]
    seed: int

    def plan(self) -> MergePlan | AdapterPlan:
        """Read headers, check everything, fix the plan."""
        if isinstance(self.spec, AdapterMerge):
            return self._adapter_plan(self._facts())
        return plan_from(
            self.base, self._facts(), self.base_dtype, self.spec, self.inputs, self.seed
        )

    def write(
        self, folder: Path, threads: int, progress: Progress, reporter: Reporter
    ) -> dict[str, Any]:
        """Merge into ``folder``, which appears only when it is whole."""
        with appearing(folder) as partial:
            report = self._write(partial, threads, progress, reporter)
            shutil.rmtree(partial / _RUN, ignore_errors=True)
            text = json.dumps(report, indent=1, sort_keys=True)
            (partial / "merge.json").write_text(text + "\n", "utf-8")
        return report

    def check_writable(self) -> None:
        """Raise UsageError for a merge that only a build can make."""
        if isinstance(self.spec, GreedySoupMerge):
            raise UsageError(
                f"merge.{self.name}: held-out rows decide about the inputs of a greedy soup, and "
                "they are made by the build",
                f"run tuneforge build merge.{self.name}; --dry-run and --analyse work here",
            )

    def _write(
        self, folder: Path, threads: int, progress: Progress, reporter: Reporter
    ) -> dict[str, Any]:
        facts = self._facts()
        if isinstance(self.spec, AdapterMerge):
            plan = self._adapter_plan(facts)
            return lowrank.write_adapter(plan, folder, threads, progress, facts)
        return merge_into(
            folder,
            base=self.base,
            base_facts=facts,
            base_dtype=self.base_dtype,
            spec=self.spec,
            inputs=self.inputs,
            seed=self.seed,
            threads=threads,
            progress=progress,
            run_job=lambda job: _worker(folder / _RUN, job, reporter),
        )

    def _adapter_plan(self, facts: dict[str, Any]) -> AdapterPlan:
        assert isinstance(self.spec, AdapterMerge)
        return lowrank.plan_from(
            self.base, facts, self.base_dtype, self.spec, self.inputs, self.seed
        )

    def _facts(self) -> dict[str, Any]:
        """Hash the base only where an adapter says which base it was trained on."""
        if not any(place.training.get("base") for place in self.inputs):
            return {"id": self.base.name}
        files = [
            self.base / "config.json", self.base / "tokenizer.json",
            *sorted(self.base.glob("*.safetensors")),
        ]  # fmt: skip
        digests = {path.name: file_digest(path) for path in files if path.is_file()}
        return {"id": self.base.name, "digest": value_digest(digests)}


def merges_of(loaded: LoadedSpec) -> list[Standalone]:
    """Find the base and the inputs of each merge of a spec.

    Raises UsageError for a spec that needs a build, EnvironmentMissing for missing folders.
    """
    spec = loaded.spec
    if not spec.merge:
        raise UsageError(f"{loaded.path}: declares no merge", "add a table [merge.NAME]")
    if not isinstance(spec.base, ModelBase):
        raise UsageError(
            f"{loaded.path}: the base is made by the build", "run tuneforge build instead"
        )
    base = _folder(spec.base.model, spec.base.revision, loaded.directory)
    return [
        Standalone(
            name, merge, base, spec.base.dtype, _inputs(name, merge, loaded), spec.build.seed
        )
        for name, merge in spec.merge.items()
    ]


def _inputs(name: str, merge: Merge, loaded: LoadedSpec) -> tuple[InputFolder, ...]:
    found = []
    for index, entry in enumerate(merge.inputs):
        if not isinstance(entry, ModelInput | AdapterInput):
            made = (
                f"merge.{entry.merge}" if isinstance(entry, MergedInput) else f"train.{entry.train}"
            )
            raise UsageError(
                f"merge.{name}.inputs[{index}]: {made} is made by the build",
                "run tuneforge build, or name its folder: adapter = ...",
            )
        text = entry.model if isinstance(entry, ModelInput) else entry.adapter
        found.append(input_folder(entry, _folder(text, "main", loaded.directory)))
    return tuple(found)


def _folder(name: str, revision: str, directory: Path) -> Path:
    place = locate(name, revision, kind="model", pinned="", directory=directory)
    if place.folder is not None:
        return place.folder
    from tuneforge.merge.hub import snapshot

    return snapshot(name, place.commit)


def _worker(run: Path, job: dict[str, Any], reporter: Reporter) -> Path:
    from tuneforge.runs import run_job

    return run_job(run, {**job, "threads": 1}, reporter).output


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` to write in, and rename it there when all went well.

    What killed processes left behind is removed first. Raises UsageError when ``folder`` exists.
    """
    if folder.exists():
        raise UsageError(f"{folder}: exists already", "remove it or name another folder")
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent, folder.name)
        partial = parent / f".{folder.name}.{os.getpid()}.partial"
        partial.mkdir()
    except OSError as error:
        raise EnvironmentMissing(
            f"{parent}: cannot be written ({error.strerror})", "choose a writable folder"
        ) from error
    try:
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _remove_abandoned(parent: Path, name: str) -> None:
    pattern = re.compile(rf"\.{re.escape(name)}\.(\d+)\.partial")
    for path in parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
