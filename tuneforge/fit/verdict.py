"""Does an estimate fit a budget, and what is the least change that makes it fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tuneforge_specs.base import BaseCommon
from tuneforge_specs.train import LoraAdapter, Train

from tuneforge.fit.estimate import Estimate
from tuneforge.fit.sizes import size_text

Changes = dict[str, str | int | bool]
_ARGS = "args."


@dataclass(frozen=True)
class Verdict:
    """Whether ``estimate`` fits ``budget`` bytes.

    ``changes`` are spec keys (below the train step, or ``base.quantize``) and the values that
    would make it fit, ``after`` the estimate with them; both empty where it fits, or where
    nothing helps.
    """

    fits: bool
    budget: int
    estimate: Estimate
    changes: Changes = field(default_factory=dict)
    after: Estimate | None = None

    def __str__(self) -> str:
        need = f"{size_text(self.estimate.total)} of {size_text(self.budget)}"
        if self.fits:
            return f"fits: {need}"
        if self.after is None:
            return f"does not fit: {need}"
        written = ", ".join(f"{key} = {_toml(value)}" for key, value in self.changes.items())
        return f"fits with {written}: {size_text(self.after.total)}; as it is: {need}"


def verdict(estimate: Estimate, budget: int) -> Verdict:
    """Judge ``estimate`` against ``budget`` bytes and propose the cheapest change that helps.

    In order of cost: smaller micro batches with the same rows in each optimizer step, gradient
    checkpointing, an 8-bit optimizer, a base held in nf4. What is not needed is left out.
    """
    if estimate.total <= budget:
        return Verdict(True, budget, estimate)
    for changes in _proposals(estimate):
        if _with(estimate, changes).total <= budget:
            needed = _needed(estimate, changes, budget)
            return Verdict(False, budget, estimate, needed, _with(estimate, needed))
    return Verdict(False, budget, estimate)


def _proposals(estimate: Estimate) -> Iterator[Changes]:
    """Give growing sets of changes; within each set, micro batches as large as they may be."""
    train, base = estimate.request.train, estimate.request.base
    changes: Changes = {}
    steps: list[Changes] = [{}]
    if not train.args.gradient_checkpointing:
        steps.append({"args.gradient_checkpointing": True})
    if train.args.optimizer == "adamw":
        steps.append({"args.optimizer": "adamw_8bit"})
    if base.quantize == "none" and isinstance(train.adapter, LoraAdapter):
        steps.append({"base.quantize": "nf4"})
    for step in steps:
        changes = {**changes, **step}
        yield changes
        for smaller in _smaller_batches(train):
            yield {**changes, **smaller}


def _smaller_batches(train: Train) -> Iterator[Changes]:
    rows, accumulate = train.args.micro_batch, train.args.accumulate
    for divisor in range(2, rows + 1):
        if rows % divisor == 0:
            yield {"args.micro_batch": rows // divisor, "args.accumulate": accumulate * divisor}


def _needed(estimate: Estimate, changes: Changes, budget: int) -> Changes:
    """Leave out each change that the others do without."""
    batches = {key for key in changes if key in ("args.micro_batch", "args.accumulate")}
    for group in ({"args.optimizer"}, {"args.gradient_checkpointing"}, batches):
        fewer = {key: value for key, value in changes.items() if key not in group}
        if fewer and _with(estimate, fewer).total <= budget:
            changes = fewer
    return changes


def _with(estimate: Estimate, changes: Mapping[str, str | int | bool]) -> Estimate:
    train, base = estimate.request.train, estimate.request.base
    args = {
        key.removeprefix(_ARGS): value for key, value in changes.items() if key.startswith(_ARGS)
    }
    changed: Train = train.model_copy(update={"args": train.args.model_copy(update=args)})
    if "base.quantize" in changes:
        base = _quantised(base)
    return estimate.again(changed, base)


def _quantised(base: BaseCommon) -> BaseCommon:
    return base.model_copy(update={"quantize": "nf4"})


def _toml(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
