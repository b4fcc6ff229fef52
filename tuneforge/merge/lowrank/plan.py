"""Fix everything about an adapter to be made: its modules, their ranks, where each comes from."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import AdapterMerge, LoraCatMerge, LoraExtractMerge, LoraSvdMerge

from tuneforge.merge.adapter import Adapter, Factors, read_adapter
from tuneforge.merge.base import Onto, check_dequantisable, is_quantised
from tuneforge.merge.blocks import BLOCK, StoredRows, matrix_shape, row_blocks
from tuneforge.merge.lora import Fold, pieces_for
from tuneforge.merge.model import Model, open_model
from tuneforge.merge.place import places
from tuneforge.merge.resolve import InputFolder, check_base
from tuneforge.weights import Entry
from tuneforge.weights.dtypes import FROM_TORCH, MERGEABLE

AdapterSpec = LoraCatMerge | LoraSvdMerge | LoraExtractMerge
_PROGRAM = 180 << 20
_TRANSPOSED = frozenset({"gpt2", "openai-gpt"})  # their linear weights are stored as [in, out]
_WHOLE = 'merge it into the base first, with method = "lora"'


@dataclass(frozen=True)
class Term:
    """One input's update of a module: ``scale * B @ A``."""

    adapter: Adapter
    factors: Factors
    scale: float


@dataclass(frozen=True)
class Module:
    """A module of the new adapter: B is [rows, rank], A is [rank, columns].

    ``tensor`` is the base's weight, ``tuned`` the fine-tune's where the update is taken from one.
    """

    name: str
    tensor: str
    rows: int
    columns: int
    rank: int
    embedding: bool = False
    terms: tuple[Term, ...] = ()
    tuned: str = ""

    def entries(self, dtype: str) -> tuple[Entry, Entry]:
        """Return A and B as they are stored, by PEFT's names."""
        stem = f"base_model.model.{self.name}."
        a, b = ("lora_A.weight", "lora_B.weight")
        if self.embedding:
            a, b = ("lora_embedding_A", "lora_embedding_B")
        return (
            Entry(stem + a, dtype, (self.rank, self.columns)),
            Entry(stem + b, dtype, (self.rows, self.rank)),
        )


@dataclass(frozen=True)
class AdapterPlan:
    """An adapter that can be made, printed or refused. ``tuned``: the fine-tune it is taken from.

    ``transposed``: PEFT's ``fan_in_fan_out``. ``left_out``: tensors that cannot be in it.
    """

    spec: AdapterSpec
    base: Model
    onto: Onto
    inputs: tuple[InputFolder, ...]
    modules: tuple[Module, ...]
    transposed: bool
    seed: int
    tuned: Model | None = None
    left_out: tuple[str, ...] = ()

    @property
    def dtype(self) -> str:
        """Safetensors code of the factors."""
        return FROM_TORCH.get(self.spec.dtype, "F32")

    @property
    def bytes_out(self) -> int:
        """Bytes of the factors."""
        return sum(e.nbytes for module in self.modules for e in module.entries(self.dtype))

    def peak_memory(self, threads: int) -> int:
        """Estimate the peak resident bytes with so many threads."""
        return _PROGRAM + threads * max(_working_set(module) for module in self.modules)


def _working_set(module: Module) -> int:
    ranks = sum(term.factors.rank for term in module.terms)
    sketch = 2 * (module.rank + 10) if module.tuned else ranks + module.rank
    return 8 * (4 * (module.rows + module.columns) * sketch + 4 * max(BLOCK, module.columns))


def plan_adapter(
    base: Model,
    digest: str,
    inputs: Sequence[InputFolder],
    spec: AdapterSpec,
    onto: Onto,
    seed: int,
) -> AdapterPlan:
    """Check that base and inputs belong together and decide on every module.

    Raises DataError for inputs whose update is not a low-rank sum, or that fit another base.
    """
    if base.config.get("quantization_config"):
        raise DataError(
            f"{base.folder}: its weights are stored quantised", "name the unquantised model"
        )
    for place in inputs:
        check_base(place, digest)
    if isinstance(spec, LoraExtractMerge):
        return _extracted(base, inputs, spec, onto, seed)
    return _combined(base, inputs, spec, onto, seed)


def _combined(
    base: Model, inputs: Sequence[InputFolder], spec: AdapterSpec, onto: Onto, seed: int
) -> AdapterPlan:
    at = places(base.weights)
    terms: dict[str, list[Term]] = {}
    tensors: dict[str, str] = {}
    turned = set()
    for entry, place in zip(spec.inputs, inputs, strict=True):
        if not place.adapter:
            raise DataError(
                f"{place.label}: full weights; {spec.method} takes adapters",
                'take it back to an adapter first, with method = "lora_extract"',
            )
        adapter = read_adapter(place.folder)
        turned.add(adapter.transposed)
        for stored, factors in _updates(base, adapter):
            scale = factors.scaling * at[stored].value(entry.weight, 1.0)
            tensors[factors.module] = stored
            terms.setdefault(factors.module, []).append(Term(adapter, factors, scale))
    if len(turned) > 1:
        raise DataError(
            "the adapters disagree about fan_in_fan_out", "correct it in adapter_config.json"
        )
    modules = [_module(name, tensors[name], found, spec) for name, found in terms.items()]
    return AdapterPlan(spec, base, onto, tuple(inputs), tuple(modules), turned.pop(), seed)


def _module(name: str, tensor: str, terms: Sequence[Term], spec: AdapterMerge) -> Module:
    first = terms[0]
    rows = first.adapter.weights[first.factors.b].shape[0]
    columns = first.adapter.weights[first.factors.a].shape[1]
    rank = sum(term.factors.rank for term in terms)
    if isinstance(spec, LoraSvdMerge):
        rank = min(spec.rank, rank, rows, columns)
    return Module(name, tensor, rows, columns, rank, first.factors.embedding, tuple(terms))


def _updates(base: Model, adapter: Adapter) -> Iterator[tuple[str, Factors]]:
    """Give the adapter's low-rank updates; refuse one that does anything else."""
    for factors in adapter.factors.values():
        if factors.magnitude or factors.bias:
            what = "DoRA" if factors.magnitude else "a bias"
            raise DataError(
                f"{adapter.folder}: {factors.module} has {what}, no part of a low-rank sum",
                _WHOLE,
            )
    for stored, pieces in pieces_for(base, adapter).items():
        for piece in pieces:
            if isinstance(piece, Fold):
                yield stored, piece.factors
    for name, key in adapter.replaced.items():
        if not _equal(base, base.find(name), adapter, key):
            raise DataError(f"{adapter.folder}: holds a whole new {name}", _WHOLE)


def _equal(base: Model, stored: str, adapter: Adapter, key: str) -> bool:
    # PEFT saves the embedding beside an adapter of it, trained or not.
    theirs = StoredRows(adapter.weights, adapter.weights[key])
    ours = StoredRows(base.weights, base.weights[stored])
    rows, columns = matrix_shape(theirs.tensor.shape)
    return all(
        bool((theirs.rows(first, last) == ours.rows(first, last)).all())
        for first, last in row_blocks(rows, columns)
    )


def _extracted(
    base: Model, inputs: Sequence[InputFolder], spec: LoraExtractMerge, onto: Onto, seed: int
) -> AdapterPlan:
    (place,) = inputs
    if place.adapter:
        raise DataError(
            f"{place.label}: an adapter already", 'change its rank with method = "lora_svd"'
        )
    if onto.dtype:
        check_dequantisable(base)
    from tuneforge.merge.checks import check_same

    tuned = open_model(place.folder)
    check_same(base, tuned)
    across = base.config.get("model_type") in _TRANSPOSED
    modules, left_out = [], []
    for name, info in base.weights.items():
        found = tuned.find(name)
        if not is_quantised(name, info.shape) or info.dtype not in MERGEABLE:
            left_out.append(name)
            continue
        rows, columns = info.shape[::-1] if across else info.shape
        rank = min(spec.rank, rows, columns)
        module = found.removesuffix(".weight")
        modules.append(Module(module, name, rows, columns, rank, tuned=found))
    if not modules:
        raise DataError(f"{base.folder}: no linear layer is known by name", "train a LoRA instead")
    return AdapterPlan(
        spec, base, onto, tuple(inputs), tuple(modules), across, seed, tuned, tuple(left_out)
    )


def adapter_config(plan: AdapterPlan, modules: Sequence[Module], base_id: str) -> dict[str, Any]:
    """Return adapter_config.json: scaling 1 everywhere, one rank where all modules agree."""
    rank = Counter(module.rank for module in modules).most_common(1)[0][0]
    # PEFT takes the first pattern that matches the end of a path, so longer ones go first.
    others = sorted((m for m in modules if m.rank != rank), key=lambda m: (-len(m.name), m.name))
    pattern = {module.name: module.rank for module in others}
    return {
        "alpha_pattern": pattern,
        "base_model_name_or_path": base_id,
        "bias": "none",
        "fan_in_fan_out": plan.transposed,
        "inference_mode": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": pattern,
        "target_modules": _targets(plan.base.weights, modules),
        "task_type": "CAUSAL_LM",
    }


def _targets(weights: Mapping[str, Any], modules: Sequence[Module]) -> list[str]:
    """Name modules by the last part of their path where that means no others, else in full."""
    ends = Counter(module.name.rsplit(".", 1)[-1] for module in modules)
    targets = set()
    for module in modules:
        end = module.name.rsplit(".", 1)[-1]
        same = sum(1 for name in weights if re.search(rf"(^|\.){re.escape(end)}\.weight$", name))
        targets.add(end if same == ends[end] else module.name)
    return sorted(targets)
