"""What a plan will take: memory against the device, time, disk and cost."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneforge_specs.base import Base, Scratch, ScratchBase
from tuneforge_specs.spec import Spec

from tuneforge.backend import choose
from tuneforge.device import Device
from tuneforge.fit import UnknownArchitecture, Verdict, estimate, size_text, verdict
from tuneforge.plan.base_folder import base_folder
from tuneforge.plan.definition import Plan, PlannedStep
from tuneforge.plan.merges import merge_lines

# Steps that write a whole model, in the size of the base's weights unless seen before.
WHOLE_MODELS = frozenset({"merge", "export"})


@dataclass(frozen=True)
class TrainForecast:
    """One train step: its backend and why, and its memory; ``unknown`` says why there is none.

    ``checkpoint_every`` is the spec's. ``longest`` and ``context`` are the tokens that a row may
    have and those that the base takes, where that is known to be fewer.
    """

    step: str
    backend: str
    why: str
    memory: Verdict | None
    unknown: str = ""
    assumed: str = ""
    checkpoint_every: int | str = "auto"
    longest: int = 0
    context: int = 0

    def as_json(self) -> dict[str, Any]:
        """Give the forecast as a JSON object."""
        told: dict[str, Any] = {"step": self.step, "backend": self.backend, "why": self.why}
        told["checkpoint_every"] = self.checkpoint_every
        if self.context:
            told |= {"longest_row": self.longest, "context": self.context}
        if self.memory is None:
            return {**told, "memory": {"unknown": self.unknown}}
        found = self.memory
        return {
            **told,
            "memory": {
                "fits": found.fits,
                "bytes": found.estimate.total,
                "budget": found.budget,
                "terms": found.estimate.terms,
                "changes": found.changes,
                "assumed": self.assumed,
            },
        }


@dataclass(frozen=True)
class Forecast:
    """What the steps that are not cached will take.

    ``scored`` names datasets whose records go through the base, and the filters that want it.
    ``seconds`` and ``disk`` sum what is known from earlier builds; ``untimed`` and ``unsized``
    name the steps of which nothing is known. ``merges``: lines on merges that need torch. ``price``
    is per hour, 0 where none was given.
    """

    device: str
    trains: tuple[TrainForecast, ...]
    seconds: float
    untimed: tuple[str, ...]
    disk: int
    unsized: tuple[str, ...]
    free: int
    price: float = 0.0
    merges: tuple[str, ...] = ()
    scored: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def cost(self) -> float:
        """Give the cost of the known time."""
        return self.price * self.seconds / 3600

    def as_json(self) -> dict[str, Any]:
        """Give the forecast as a JSON object."""
        return {
            "device": self.device,
            "train": [train.as_json() for train in self.trains],
            "scored_by_base": {step: list(filters) for step, filters in self.scored},
            "merge": list(self.merges),
            "seconds": self.seconds,
            "seconds_unknown_for": list(self.untimed),
            "disk_bytes": self.disk,
            "disk_unknown_for": list(self.unsized),
            "disk_free": self.free,
            **({"cost": round(self.cost, 4)} if self.price else {}),
        }


def forecast(
    plan: Plan, spec: Spec, device: Device, *, budget: int = 0, price: float = 0.0
) -> Forecast:
    """Foresee what a plan takes; ``budget`` stands for the device's memory where it is not 0.

    With a budget the device is taken to be a GPU of that size. Raises EnvironmentMissing where a
    step asks for a backend that cannot work here.
    """
    todo = [planned for planned in plan if planned.status != "cached"]
    place = base_folder(next((p for p in plan if p.step.id == "base"), None), spec.base)
    whole = _weights(place)
    sizes = {p.step.id: p.bytes or (whole if p.step.kind in WHOLE_MODELS else 0) for p in todo}
    trains = [planned for planned in todo if planned.step.kind == "train"]
    existing = next(path for path in (plan.workspace, *plan.workspace.parents) if path.exists())
    return Forecast(
        device=f"a GPU with {size_text(budget)}" if budget else device.name,
        trains=tuple(_train(planned, spec, device, place, budget) for planned in trains),
        seconds=sum(planned.seconds for planned in todo),
        untimed=tuple(planned.step.id for planned in todo if not planned.seconds),
        disk=sum(sizes.values()),
        unsized=tuple(step for step, size in sizes.items() if not size),
        free=shutil.disk_usage(existing).free,
        price=price,
        merges=tuple(
            line
            for planned in todo
            if planned.step.kind == "merge"
            for line in merge_lines(planned.step, spec, whole)
        ),
        scored=tuple(
            (planned.step.id, filters)
            for planned in todo
            if planned.step.kind == "dataset"
            and (filters := spec.datasets[planned.step.name].scored_by)
        ),
    )


def _train(
    planned: PlannedStep, spec: Spec, device: Device, place: Path | None, budget: int
) -> TrainForecast:
    step = planned.step
    train = spec.train[step.name]
    choice = choose(train.backend, device)
    config = _config(place, spec.base)
    told = TrainForecast(
        step.id, choice.backend, choice.why, None, checkpoint_every=train.args.checkpoint_every
    )
    if config is None:
        unknown = "the base's config.json is not here yet; it is fetched by the base step"
        return replace(told, unknown=unknown)
    tokens = spec.datasets[train.dataset].template.max_tokens
    context = (config.get("text_config") or config).get("max_position_embeddings") or tokens
    if context < tokens:
        told = replace(told, longest=tokens, context=context)
    kind = "cuda" if budget else device.kind
    try:
        found = estimate(config, train, spec.base, tokens, device=kind)
    except UnknownArchitecture as error:
        return replace(told, unknown=error.message)
    judged = verdict(found, budget or device.memory_bytes)
    return replace(told, memory=judged, assumed=found.assumed)


def _config(place: Path | None, base: Base) -> Mapping[str, Any] | None:
    path = None if place is None else place / "config.json"
    if path is not None and path.is_file():
        read: Mapping[str, Any] = json.loads(path.read_text())
        return read
    return scratch_config(base.scratch) if isinstance(base, ScratchBase) else None


def scratch_config(scratch: Scratch) -> dict[str, Any]:
    """Give the config.json that a scratch base will have, as far as memory depends on it."""
    return {
        "model_type": "llama",
        "hidden_size": scratch.hidden,
        "intermediate_size": scratch.intermediate,
        "num_hidden_layers": scratch.layers,
        "num_attention_heads": scratch.heads,
        "num_key_value_heads": scratch.kv_heads,
        "vocab_size": scratch.vocab,
        "tie_word_embeddings": True,
    }


def _weights(place: Path | None) -> int:
    if place is None or not place.is_dir():
        return 0
    return sum(path.stat().st_size for path in place.glob("*.safetensors"))
