"""Carry out a merge plan: tensors over threads, largest first, in bounded memory.

Every tensor is merged by one thread in a fixed order of operations, and its place in the output is
fixed before, so the bytes do not depend on the number of threads.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import LoraMerge
from tuneforge_specs.settings import values_of

from tuneforge.merge.base import base_rows
from tuneforge.merge.blocks import StoredRows, matrix_shape, row_blocks
from tuneforge.merge.lora import Fold, Folder
from tuneforge.merge.memory import keep_freed_memory
from tuneforge.merge.method import Combine, Floats, Tensor
from tuneforge.merge.methods import method_named
from tuneforge.merge.plan import MergePlan, TensorPlan
from tuneforge.merge.sources import AdapterRows, Source
from tuneforge.weights import ShardWriter, numpy_dtype, parse_size

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TensorResult:
    """What became of one tensor: how many elements differ from the base, and by how much (L2).

    A method that does not read the base is compared with it in its first block only: ``exact`` is
    False then, and ``changed`` a lower bound.
    """

    name: str
    action: str
    changed: int
    size: int
    delta_norm: float
    base_norm: float
    exact: bool = True


def run_plan(plan: MergePlan, folder: Path, threads: int, progress: Progress) -> list[TensorResult]:
    """Write the merged weights into ``folder``; return the results in the plan's order.

    Raises DataError when an adapter holds only zeros, or when nothing changed at all.
    """
    keep_freed_memory()
    for source in plan.sources:
        check_not_zero(source)
    entries = [tensor.entry for tensor in plan.tensors]
    total, done = plan.bytes_out, 0
    order = sorted(plan.tensors, key=lambda tensor: -_cost(tensor))
    results: dict[str, TensorResult] = {}
    with (
        ShardWriter(folder, entries, parse_size(plan.spec.shard_size)) as writer,
        ThreadPoolExecutor(max_workers=max(1, threads)) as pool,
    ):
        futures = {pool.submit(_merge_tensor, plan, tensor, writer): tensor for tensor in order}
        pending = set(futures)
        try:
            while pending:
                finished, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in finished:
                    results[futures[future].name] = future.result()
                    done += futures[future].entry.nbytes
                progress(done, total)
        finally:
            for future in pending:
                future.cancel()
    ordered = [results[tensor.name] for tensor in plan.tensors]
    _check_changed(plan, ordered)
    return ordered


def _cost(tensor: TensorPlan) -> int:
    return tensor.entry.nbytes * (1 + 4 * (tensor.action not in {"copy", "cast"}))


def _merge_tensor(plan: MergePlan, tensor: TensorPlan, writer: ShardWriter) -> TensorResult:
    if tensor.action == "copy":
        writer.copy(tensor.name, plan.base.weights)
        size = plan.base.weights[tensor.name].size
        return TensorResult(tensor.name, "copy", 0, size, 0.0, 0.0)
    if tensor.action == "replace":
        return _write_head(plan, tensor, writer)
    if tensor.action == "stack":
        return _write_layer(tensor, writer)
    rows, columns = matrix_shape(tensor.entry.shape)
    base = base_rows(plan.base, tensor.name, plan.onto, plan.alignment)
    job = Tensor(
        tensor.name, rows, columns, base,
        [source.rows(tensor.name) for source in tensor.sources],
        [source.weight_at(tensor.place) for source in tensor.sources],
        [source.density_at(tensor.place) for source in tensor.sources],
        reads="weights", seed=plan.seed, depth=tensor.depth,
    )  # fmt: skip
    if tensor.action == "lora":
        return _write_folded(plan, tensor, job, writer)
    if tensor.action == "cast":
        return _write_blocks(plan, tensor, job, lambda block: block.base, writer)
    method = method_named(tensor.action)
    uses_base = method.uses_base(plan.spec) or any(s.model is None for s in tensor.sources)
    job = Tensor(**{**vars(job), "reads": method.reads, "uses_base": uses_base})
    return _write_blocks(plan, tensor, job, method.prepare(job, plan.spec), writer)


class _Tally:
    """Counts changed elements and sums squares, block by block."""

    def __init__(self, *, exact: bool = True) -> None:
        self.changed, self.delta, self.base, self.exact = 0, 0.0, 0.0, exact

    def add(self, before: Floats, after: Floats) -> None:
        from tuneforge.merge.kernels.reduce import compare

        changed, delta, base = compare(before.reshape(-1), after.reshape(-1))
        self.changed += int(changed)
        self.delta += float(delta)
        self.base += float(base)

    def result(self, tensor: TensorPlan) -> TensorResult:
        size = int(np.prod(tensor.entry.shape))
        return TensorResult(
            tensor.name, tensor.action, self.changed, size,
            float(np.sqrt(self.delta)), float(np.sqrt(self.base)), self.exact,
        )  # fmt: skip


def _write_blocks(
    plan: MergePlan, tensor: TensorPlan, job: Tensor, combine: Combine, writer: ShardWriter
) -> TensorResult:
    del plan
    tally = _Tally(exact=job.uses_base)
    for block in job.blocks():
        merged = np.ascontiguousarray(combine(block), np.float32)
        base: Floats | None = block.base
        if not job.uses_base:
            # Read only until a difference has shown that the merge changes something.
            unchanged = tally.changed == 0
            base = job.base.rows(block.first, block.last) if unchanged else None
        _write(tensor, writer, block.first * job.columns, base, merged, tally)
    return tally.result(tensor)


def _write(
    tensor: TensorPlan,
    writer: ShardWriter,
    start: int,
    base: Floats | None,
    merged: Floats,
    tally: _Tally,
) -> None:
    from tuneforge.merge.kernels.floats import from_float32, to_float32

    stored = from_float32(merged.reshape(-1), numpy_dtype(tensor.entry.dtype))
    writer.write(tensor.name, start, stored)
    if base is not None:
        tally.add(base, to_float32(stored).reshape(base.shape))


def _write_folded(
    plan: MergePlan, tensor: TensorPlan, job: Tensor, writer: ShardWriter
) -> TensorResult:
    """Fold adapters in one after the other, each result rounded to the dtype the base has."""
    dtype = numpy_dtype(plan.base.weights[tensor.name].dtype)
    inputs = [rows for rows in job.inputs if isinstance(rows, AdapterRows)]
    # A later adapter sees the weights that the earlier ones left, norms of DoRA included.
    for place, rows in enumerate(inputs):
        for folder in rows.observers:
            for first, last in row_blocks(job.rows, job.columns, job.base.multiple):
                values = job.base.rows(first, last)
                for earlier in inputs[:place]:
                    values = earlier.folded(first, last, values, dtype)
                folder.observe(first, values)
    tally = _Tally()
    for first, last in row_blocks(job.rows, job.columns, job.base.multiple):
        base = job.base.rows(first, last)
        values = base
        for rows in inputs:
            values = rows.folded(first, last, values, dtype)
        merged = np.ascontiguousarray(values, np.float32)
        _write(tensor, writer, first * job.columns, base, merged, tally)
    return tally.result(tensor)


def _write_head(plan: MergePlan, tensor: TensorPlan, writer: ShardWriter) -> TensorResult:
    del plan
    (source,) = tensor.sources
    rows, columns = matrix_shape(tensor.entry.shape)
    head = source.rows(tensor.name)
    tally = _Tally()
    for first, last in row_blocks(rows, columns):
        empty = np.zeros((last - first, columns), np.float32)
        _write(tensor, writer, first * columns, empty, head.full(first, last, empty), tally)
    return tally.result(tensor)


def _write_layer(tensor: TensorPlan, writer: ShardWriter) -> TensorResult:
    """Copy a layer's tensor to its place in the stack; its bytes stay unless it is scaled."""
    model = tensor.sources[0].model
    assert model is not None
    info = model.weights[tensor.origin]
    if tensor.scale == 1.0 and info.dtype == tensor.entry.dtype:
        writer.copy(tensor.name, model.weights, tensor.origin)
    else:
        rows, columns = matrix_shape(info.shape)
        stored = StoredRows(model.weights, info)
        for first, last in row_blocks(rows, columns):
            values = stored.rows(first, last) * np.float32(tensor.scale)
            _write(tensor, writer, first * columns, None, values, _Tally())
    return TensorResult(tensor.name, "stack", info.size, info.size, 0.0, 0.0, exact=False)


def check_not_zero(source: Source) -> None:
    """Refuse an adapter whose every update is zero, naming why."""
    if source.model is not None:
        return
    pieces = [piece for items in source.pieces.values() for piece in items]
    if not all(isinstance(piece, Fold) for piece in pieces):
        return
    folds = [piece for piece in pieces if isinstance(piece, Fold)]
    if any(fold.factors.magnitude for fold in folds):
        return
    for fold in folds:
        if Folder(fold).norm() > 0.0:
            return
    cause = "its B factors are all zero: it was never trained"
    if not any(values_of(source.weight)):
        cause = "its weight is 0"
    raise DataError(
        f"{source.label}: a merge that changes nothing: {cause}",
        "train the adapter, or take it out of the merge",
    )


def _check_changed(plan: MergePlan, results: list[TensorResult]) -> None:
    if any(result.changed for result in results):
        return
    touched = [result for result in results if result.action not in {"copy", "cast"}]
    if not touched:
        cause = "no input touches any tensor"
    elif not any(any(values_of(source.weight)) for source in plan.sources):
        cause = "every weight is 0"
    elif isinstance(plan.spec, LoraMerge):
        cause = f"every update is lost in rounding to {touched[0].name}'s dtype"
    else:
        cause = "the inputs equal the base"
    raise DataError(
        f"a merge that changes nothing: {cause}",
        'check the inputs and weights, or merge with dtype = "float32"',
    )
