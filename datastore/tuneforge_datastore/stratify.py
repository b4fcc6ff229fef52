"""The held-out split with the same share of every value of a column, groups kept whole."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneforge_datastore.split import both_sides, draw, grouped


@dataclass(frozen=True)
class Stratum:
    """One value: its rows, those wanted on the eval side, and those that are there."""

    value: str
    rows: int
    wanted: float
    eval: int

    @property
    def off(self) -> float:
        """Rows beyond those that rounding explains."""
        return max(0.0, abs(self.eval - self.wanted) - 1.0)


def assign_stratified(
    keys: pa.Array,
    strata: NDArray[np.int64],
    values: list[str],
    *,
    share: float,
    seed: int,
    groups: NDArray[np.int64] | None = None,
) -> tuple[pa.StringArray, list[Stratum]]:
    """Give each row 'train' or 'eval', and say how close each stratum came to ``share``.

    ``strata`` numbers each row's value in ``values``; ``keys`` and ``groups`` are those of
    ``split.assign``. Groups go to the eval side in the order of their draws where that brings the
    strata nearer to what is wanted (least squares), then where it makes up for what rounding took
    from many small strata. A group of several strata may leave some of them off.
    """
    first, group, sizes = grouped(keys, groups)
    draws = np.array([draw(key, seed) for key in keys.take(pa.array(first)).to_pylist()])
    members = _members(group, strata, len(sizes))
    wanted = share * np.bincount(strata, minlength=len(values))
    held = np.zeros(len(sizes), np.bool_)
    now = np.zeros(len(values))

    def hold(one: int) -> None:
        held[one] = True
        for stratum, count in members[one]:
            now[stratum] += count

    order = np.argsort(draws, kind="stable").tolist()
    for one in order:
        if sum(count * (2 * (now[s] - wanted[s]) + count) for s, count in members[one]) < 0:
            hold(one)
    most = np.ceil(wanted)
    for one in order:
        behind = float(wanted.sum() - now.sum())
        fits = all(now[s] + count <= most[s] for s, count in members[one])
        if not held[one] and fits and sizes[one] < 2 * behind:
            hold(one)
    held = both_sides(held, draws, sizes, share)
    side = np.where(held[group], "eval", "train")
    there = np.bincount(strata[held[group]], minlength=len(values))
    rows = np.bincount(strata, minlength=len(values))
    report = [
        Stratum(value, int(rows[n]), round(float(wanted[n]), 2), int(there[n]))
        for n, value in enumerate(values)
    ]
    return pa.array(side, pa.string()), report


def _members(
    group: NDArray[np.int64], strata: NDArray[np.int64], count: int
) -> list[list[tuple[int, int]]]:
    """Give each group's strata with the number of its rows in them."""
    width = int(strata.max(initial=0)) + 1
    pairs, sizes = np.unique(group * width + strata, return_counts=True)
    members: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True):
        members[pair // width].append((pair % width, size))
    return members


def described(by: str, share: float, report: list[Stratum]) -> dict[str, Any]:
    """Give the content of ``split.json``."""
    return {"stratify": by, "share": share, "strata": [asdict(one) for one in report]}
