"""The lock file beside the spec: what a build was made of, to be committed and held to."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import NotFrozen, UsageError

from tuneforge.digest import value_digest
from tuneforge.plan.definition import PlannedStep
from tuneforge.plan.keys import DETERMINISTIC
from tuneforge.plan.reasons import compare
from tuneforge.step import Artifact, Step

FORMAT = 1
# Filters whose verdicts a model gives: its last digits, or its mood, differ between machines.
MODEL_FILTERS = frozenset({"perplexity", "difficulty", "judge"})
PIN = "@commit"


def lock_path(spec: Path) -> Path:
    """Give the lock file of a spec: ``spec.toml`` -> ``spec.lock``."""
    return spec.with_suffix(".lock")


def read_lock(path: Path) -> dict[str, Any]:
    """Read a lock file; empty where there is none, UsageError where it is broken."""
    try:
        lock = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: not a lock file: {error}", "delete it and build again"
        ) from error
    if not isinstance(lock, dict) or lock.get("v") != FORMAT:
        raise UsageError(f"{path}: not a lock file of format {FORMAT}", "delete it and build again")
    return lock


def pins(lock: Mapping[str, Any]) -> dict[str, str]:
    """Give the pinned commit of each spec key that names something on the hub."""
    return {
        key.removesuffix(PIN): str(value)
        for step in lock.get("steps", {}).values()
        for key, value in step["params"].items()
        if key.endswith(PIN)
    }


def describe(steps: Iterable[PlannedStep], artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """Make the lock of a build.

    Digests are recorded for steps whose output is the same on every machine; trained weights
    differ between devices, so what comes after them is held by its recipe alone.
    """
    entries: dict[str, Any] = {}
    for planned in steps:
        step = planned.step
        recipe: dict[str, Any] = {
            "version": planned.version,
            "params": dict(step.params),
            "inputs": {role: {"step": of, "digest": ""} for role, of in step.inputs.items()},
            "external": dict(planned.external),
        }
        entries[step.id] = {**recipe, "recipe": value_digest(recipe)}
        if _same_everywhere(step, entries, artifacts):
            entries[step.id]["digest"] = artifacts[step.id].digest
    return {"v": FORMAT, "steps": entries}


def write_lock(path: Path, lock: Mapping[str, Any]) -> bool:
    """Write a lock file where it changed; False where the folder may not be written."""
    text = json.dumps(lock, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        if path.exists() and path.read_text() == text:
            return True
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        return False
    return True


def differences(
    lock: Mapping[str, Any], steps: Iterable[PlannedStep], *, partial: bool = False
) -> list[str]:
    """List how the steps of a plan differ from the lock, values before and after.

    A ``partial`` plan has only some of the steps.
    """
    locked: Mapping[str, Any] = lock["steps"]
    found: list[str] = []
    planned_ids = set()
    for planned in steps:
        step = planned.step
        planned_ids.add(step.id)
        if step.id not in locked:
            found.append(f"{step.id}: not in the lock file")
            continue
        reasons = compare(
            locked[step.id],
            params=step.params,
            inputs={role: (of, "") for role, of in step.inputs.items()},
            files=planned.external,
            version=planned.version,
        )
        found += [f"{step.id}: {reason}" for reason in reasons]
    if not partial:
        found += [f"{step}: in the lock file only" for step in locked if step not in planned_ids]
    return found


def hold(path: Path, steps: Iterable[PlannedStep], *, partial: bool = False) -> dict[str, Any]:
    """Read the lock and raise NotFrozen with every difference."""
    lock = read_lock(path)
    if not lock:
        raise NotFrozen(f"no lock file: {path}", "build once without --frozen and commit it")
    if found := differences(lock, steps, partial=partial):
        lines = "\n".join(f"  {line}" for line in found)
        raise NotFrozen(
            f"{path}: the build would differ from the lock file:\n{lines}",
            "undo the change, or build without --frozen and commit the new lock file",
        )
    return lock


def hold_digest(lock: Mapping[str, Any], artifact: Artifact) -> None:
    """Raise NotFrozen where a step's output is not what was locked."""
    locked = lock["steps"].get(artifact.step, {}).get("digest", "")
    if locked and locked != artifact.digest:
        raise NotFrozen(
            f"{artifact.step}: its output has digest {artifact.digest[:16]}, "
            f"the lock file says {locked[:16]}",
            "the same recipe gave other bytes here: compare library versions and the data",
        )


def _same_everywhere(
    step: Step, entries: Mapping[str, Any], artifacts: Mapping[str, Artifact]
) -> bool:
    """Say whether any machine makes the same bytes of a step, whose inputs are in ``entries``."""
    if step.kind not in DETERMINISTIC or _asks_a_model(step):
        return False
    for of in step.inputs.values():
        if of == "base":
            made = artifacts["base"].manifest["params"]
            if any(key.startswith("base.scratch") for key in made):
                return False
        elif "digest" not in entries[of]:
            return False
    return True


def _asks_a_model(step: Step) -> bool:
    kinds = (value for key, value in step.params.items() if key.endswith("].kind"))
    return any(kind in MODEL_FILTERS for kind in kinds)
