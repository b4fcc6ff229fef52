"""Curate a dataset: mix, filter, deduplicate, decontaminate, split; account for every record."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tuneforge_specs.datasets import Dataset, NearDedup, Split
from tuneforge_specs.errors import DataError, UsageError

from tuneforge_datastore import duplicates
from tuneforge_datastore.cleaning.stage import clean
from tuneforge_datastore.columns import BATCH_ROWS, parquet_writer
from tuneforge_datastore.filtering import run_filters
from tuneforge_datastore.filters import Folders
from tuneforge_datastore.ledger import Ledger
from tuneforge_datastore.mix import sample
from tuneforge_datastore.pairing import check_pairs, length_bias
from tuneforge_datastore.records import SCHEMA
from tuneforge_datastore.rows import Rows
from tuneforge_datastore.scratch import MEMORY_LIMIT, scratch
from tuneforge_datastore.selection import run_selections
from tuneforge_datastore.selection.values import groups as value_groups
from tuneforge_datastore.selection.values import values_of
from tuneforge_datastore.stratify import Stratum, assign_stratified, described

if TYPE_CHECKING:
    from tuneforge_datastore.basemodel import BaseModel

KEPT = SCHEMA.append(pa.field("split", pa.string())).append(pa.field("cluster", pa.string()))


@dataclass(frozen=True)
class Resources:
    """What a curation may use, and where it reports.

    ``folder`` is for what ends with the curation; ``cache`` keeps what was paid for (by default
    in ``folder``).
    """

    folder: Path
    threads: int = 1
    memory_limit: str = MEMORY_LIMIT
    log: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    cache: Path | None = None


@dataclass(frozen=True)
class Inputs:
    """Folders of ingested sources by name: those mixed in, and those not to be leaked.

    ``directory`` is the base of the paths in the spec. ``base`` is the base model, for a
    dataset that needs it.
    """

    sources: Mapping[str, Path]
    against: Mapping[str, Path] = field(default_factory=dict)
    directory: Path = Path()
    base: "BaseModel | None" = None


@dataclass(frozen=True)
class Curated:
    """The result in numbers."""

    records: int
    kept: int
    train: int
    eval: int
    kind: str
    funnel: list[dict[str, Any]]


def curate(
    name: str,
    dataset: Dataset,
    inputs: Inputs,
    out: Path,
    resources: Resources,
    *,
    seed: int,
) -> Curated:
    """Write kept, ledger and changes (``.parquet``), and ``funnel.json``, to the folder ``out``.

    Equal inputs and seed give equal bytes, whatever the number of threads.

    Raises:
        DataError: no record is left, or the records are of different kinds.
        UsageError: a source is mixed in twice, or a filter's SQL is not understood.
    """
    _check_mix(name, dataset)
    out.mkdir(parents=True, exist_ok=True)
    resources.folder.mkdir(parents=True, exist_ok=True)
    rows = Rows({mix.source: inputs.sources[mix.source] for mix in dataset.mix}, resources.folder)
    ids = rows.column("id", alive=False)
    ledger = Ledger(rows)
    ledger.count_unreadable()
    sample(ledger, dataset, seed)
    with TemporaryDirectory(prefix="clean-", dir=resources.folder) as temporary:
        patches = Path(temporary)
        clean(ledger, dataset.clean, patches, out)
        cache = resources.cache or resources.folder / "cache"
        folders = Folders(inputs.directory, patches, out, cache, inputs.base)
        readable = [*(source.folder for source in rows.sources), patches]
        with scratch(
            resources.folder, readable, resources.threads, resources.memory_limit
        ) as database:
            check_pairs(database, ledger, ids)
            place = f"datasets.{name}.filters"
            run_filters(database, ledger, dataset.filters, place, folders)
            if dataset.dedup.exact:
                duplicates.drop_exact(database, ledger, ids)
        if dataset.dedup.near:
            bounded = duplicates.drop_near(ledger, dataset.dedup.near, ids, seed, resources.threads)
            if bounded:
                resources.log(f"{bounded} records share text with many others; compared in part")
        if dataset.decontaminate:
            duplicates.drop_contaminated(ledger, dataset.decontaminate, inputs.against)
        strata = None
        if dataset.select or dataset.split.stratify:
            with scratch(
                resources.folder, readable, resources.threads, resources.memory_limit
            ) as database:
                place = f"datasets.{name}.select"
                run_selections(
                    *(database, ledger, ids, dataset.select, place),
                    seed=seed,
                    threads=resources.threads,
                    base=inputs.base,
                )
                if dataset.split.stratify:
                    place = f"datasets.{name}.split.stratify"
                    strata = values_of(database, ledger, dataset.split.stratify, place)
        kind = _check_left(name, ledger)
        side, cluster, report = _split(dataset, rows, ids, strata, seed, resources.threads)
        _report_strata(dataset.split, report, out, resources)
        _write_kept(rows, out / "kept.parquet", side, cluster)
        if kind == "preference":
            _tell_bias(name, out / "kept.parquet", resources)
        ledger.write(out, ids)
        held = int(pc.sum(pc.equal(side, "eval")).as_py() or 0)
        return Curated(len(rows), len(side), len(side) - held, held, kind, ledger.stages)


def _tell_bias(name: str, kept: Path, resources: Resources) -> None:
    bias = length_bias(kept)
    if bias.warning:
        resources.warn(f"dataset {name}: {bias.warning}")
    else:
        resources.log(bias.told)


def _check_mix(name: str, dataset: Dataset) -> None:
    named = [mix.source for mix in dataset.mix]
    twice = sorted({one for one in named if named.count(one) > 1})
    if twice:
        raise UsageError(
            f"datasets.{name}.from: {', '.join(twice)} is named more than once",
            "name each source once; a fraction takes a part of it",
        )


def _check_left(name: str, ledger: Ledger) -> str:
    if not ledger.rows.alive.any():
        worst = max(ledger.stages, key=lambda step: int(step["dropped"]))
        raise DataError(
            f"datasets.{name}: no record is left of {len(ledger.rows)}; most went at "
            f"{worst['stage']} ({worst['rule']}: {worst['dropped']})",
            f"loosen datasets.{name}.{worst['stage']}, or look at its reasons in the ledger",
        )
    kinds = ledger.rows.column("kind").unique().to_pylist()
    if len(kinds) > 1 and set(kinds) != {"instruction", "text"}:
        of = {
            source.name: sorted(
                {kind for _, b in source.pieces(["kind"]) for kind in b[0].to_pylist()}
            )
            for source in ledger.rows.sources
        }
        listed = ", ".join(f"{source}: {' and '.join(found)}" for source, found in of.items())
        raise DataError(
            f"datasets.{name}: the records are of different kinds ({listed})",
            "make one dataset of each kind",
        )
    return str(min(kinds))


def _split(
    dataset: Dataset,
    rows: Rows,
    ids: pa.ChunkedArray,
    strata: pa.StringArray | None,
    seed: int,
    threads: int,
) -> tuple[pa.Array, pa.Array, list[Stratum]]:
    """Give the side and the cluster of every row alive, and how near the strata came."""
    from tuneforge_datastore.split import assign

    spec = dataset.split
    numbers = rows.numbers()
    mine = ids.take(pa.array(numbers)).combine_chunks()
    keys = rows.column("content_hash").combine_chunks()
    groups: NDArray[np.int64] | None = None
    cluster = mine
    if spec.by == "prompt":
        prompts = rows.column("prompt").combine_chunks()
        keys = pc.if_else(pc.equal(prompts, ""), keys, prompts)
    elif spec.by == "near-duplicate-cluster" and spec.eval > 0:
        groups = _clusters(dataset.dedup.near or NearDedup(), dataset, rows, seed, threads)
        if groups is not None:
            cluster = mine.take(pa.array(groups))
    if strata is None:
        return assign(keys, share=spec.eval, seed=seed, groups=groups), cluster, []
    stratum, values = value_groups(strata)
    side, report = assign_stratified(
        keys, stratum, values, share=spec.eval, seed=seed, groups=groups
    )
    return side, cluster, report


def _report_strata(spec: Split, report: list[Stratum], out: Path, resources: Resources) -> None:
    if not spec.stratify:
        return
    found = described(spec.stratify, spec.eval, report)
    (out / "split.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    off = [one for one in report if one.off > 0]
    if off:
        worst = max(off, key=lambda one: one.off)
        resources.warn(
            f"the split is off for {len(off)} of {len(report)} values of {spec.stratify}, as what "
            f"stays together is not divided: {worst.value} has {worst.eval} of {worst.rows} rows "
            f"held out, {worst.wanted:g} were wanted"
        )


def _clusters(
    near: NearDedup, dataset: Dataset, rows: Rows, seed: int, threads: int
) -> NDArray[np.int64] | None:
    # What near dedup of whole texts has kept is no pair's near duplicate: each its own cluster.
    if dataset.dedup.near and dataset.dedup.near.of == "whole":
        return np.arange(int(rows.alive.sum()), dtype=np.int64)
    from tuneforge_datastore.dedup.near import clusters

    return clusters(
        rows.texts("whole"),
        threshold=near.threshold,
        ngram=near.ngram,
        permutations=near.permutations,
        seed=seed,
        threads=threads,
        folder=rows.scratch,
    )


def _write_kept(rows: Rows, path: Path, side: pa.Array, cluster: pa.Array) -> None:
    with parquet_writer(path, KEPT) as writer:
        waiting: list[pa.Table] = []
        held = at = 0
        for _, piece in rows.kept_pieces():
            count = len(piece)
            sided = piece.append_column("split", side.slice(at, count))
            waiting.append(sided.append_column("cluster", cluster.slice(at, count)))
            at += count
            held += count
            if held >= BATCH_ROWS:
                writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=held)
                waiting, held = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=held)
