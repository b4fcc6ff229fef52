"""From a loaded spec and a workspace to a plan; reads digests, writes nothing but their cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuneforge_specs.base import ModelBase
from tuneforge_specs.loader import LoadedSpec

from tuneforge.export.plan_check import check_exports, needs_files
from tuneforge.plan.base_folder import base_folder
from tuneforge.plan.data_check import check_data
from tuneforge.plan.definition import Plan, PlannedStep, Status
from tuneforge.plan.externals import gather
from tuneforge.plan.graph import Graph, closure
from tuneforge.plan.hub import fetch_small
from tuneforge.plan.keys import step_key, step_version
from tuneforge.plan.reasons import Reason, compare
from tuneforge.plan.targets import find_steps
from tuneforge.step import Artifact, Step
from tuneforge.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """What a user asked for besides the spec: targets (empty: all), forced steps, pins, smoke."""

    targets: tuple[str, ...] = ()
    force: tuple[str, ...] = ()
    pins: Mapping[str, str] = field(default_factory=dict)
    smoke: bool = False


EVERYTHING = Wanted()


def stdin_path(workspace: Workspace) -> Path:
    """Give the file that keeps what was piped into the last build."""
    return workspace.root / "stdin"


def build_graph(
    loaded: LoadedSpec, workspace: Workspace, wanted: Wanted = EVERYTHING
) -> tuple[Step, ...]:
    """List the steps that are wanted, in order."""
    externals = gather(
        loaded.spec,
        loaded.directory,
        stdin=stdin_path(workspace),
        pins=wanted.pins,
        position=loaded.position,
    )
    steps = Graph(loaded.spec, loaded.resolved, externals, smoke=wanted.smoke).steps()
    if not wanted.targets:
        return steps
    return closure(steps, find_steps(steps, wanted.targets))


def make_plan(loaded: LoadedSpec, workspace: Workspace, wanted: Wanted = EVERYTHING) -> Plan:
    """Decide for every step whether its artifact exists, must be made, or waits for another."""
    steps = build_graph(loaded, workspace, wanted)
    forced = find_steps(steps, wanted.force)
    known: dict[str, Artifact] = {}
    planned: list[PlannedStep] = []
    for step in steps:
        verdict = judge(step, loaded.path, workspace, known, forced=step.id in forced)
        if verdict.artifact is not None and verdict.status == "cached":
            known[step.id] = verdict.artifact
        planned.append(verdict)
    workspace.digests.save()
    check_data(loaded.spec, (p.step for p in planned if p.status != "cached"))
    _check_exports(loaded, planned)
    return Plan(loaded.spec.build.name, loaded.path, workspace.root, tuple(planned))


def _check_exports(loaded: LoadedSpec, planned: list[PlannedStep]) -> None:
    spec = loaded.spec
    names = [p.step.name for p in planned if p.step.kind == "export" and p.status != "cached"]
    if not names:
        return
    base = next((p for p in planned if p.step.id == "base"), None)
    folder = base_folder(base, spec.base)
    unseen = folder if folder and not (folder / "config.json").is_file() else None
    if unseen and isinstance(spec.base, ModelBase) and needs_files(spec, names):
        fetch_small(spec.base.model, unseen.name, ("config.json", "tokenizer.json"))
    check_exports(spec, loaded.directory, folder, names)


def judge(
    step: Step,
    spec: Path,
    workspace: Workspace,
    known: Mapping[str, Artifact],
    *,
    forced: bool = False,
) -> PlannedStep:
    """Decide about one step, given the artifacts of the steps that are settled."""
    version = step_version(step.kind)
    external = {role: workspace.digests.digest(path) for role, path in step.files.items()}
    waiting = tuple(dict.fromkeys(of for of in step.inputs.values() if of not in known))
    key, artifact, damage = "", None, ""
    if not waiting:
        digests = {role: known[of].digest for role, of in step.inputs.items()}
        key = step_key(step, version, digests, external)
        artifact, damage = workspace.check(step.id, key)
        if artifact is not None and not forced:
            return PlannedStep(
                step, "cached", version, key, artifact, (), external, _seconds(artifact)
            )
    last = workspace.last(step.id, spec)
    reasons: list[Reason] = [Reason("forced", "")] if forced else []
    if damage:
        reasons.append(Reason("damaged", f"damaged: {damage}"))
    elif last is None:
        was = step.id in workspace.state(spec)
        reasons.append(Reason("damaged", "missing") if was else Reason("never", ""))
    else:
        reasons += compare(
            last.manifest,
            params=step.params,
            inputs={
                role: (of, known[of].digest if of in known else "")
                for role, of in step.inputs.items()
            },
            files=external,
            version=version,
        )
    status: Status = "pending" if waiting and not reasons else "run"
    if not waiting and not reasons:
        reasons.append(Reason("damaged", "missing"))
    reasons += [Reason("waits", of) for of in waiting]
    return PlannedStep(
        step, status, version, key, None, tuple(reasons), external, _seconds(last), _bytes(last)
    )


def _seconds(artifact: Artifact | None) -> float:
    return float(artifact.manifest["seconds"]) if artifact is not None else 0.0


def _bytes(artifact: Artifact | None) -> int:
    if artifact is None:
        return 0
    return sum(int(entry["size"]) for entry in artifact.manifest["files"].values())
