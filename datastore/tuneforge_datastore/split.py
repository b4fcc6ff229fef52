"""The held-out split: seeded, by groups that are never divided, stable when rows are added."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


def draw(key: str, seed: int) -> float:
    """Draw a number in [0, 1) that depends on the key and the seed alone."""
    salt = seed.to_bytes(8, "little")
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt)
    return int.from_bytes(digest.digest(), "little") / 2**64


def assign(
    keys: "Sequence[str] | pa.Array | pa.ChunkedArray",
    *,
    share: float,
    seed: int,
    groups: "NDArray[np.int64] | None" = None,
) -> "pa.StringArray":
    """Give each row 'train' or 'eval', about ``share`` of the rows to 'eval'.

    ``keys`` name the rows' content; rows with one key, or with one number in ``groups``, stay
    together. A group is drawn by the key of its first row, so rows added behind change no other
    row's side. Between 0 and 1, both sides get at least one group where there are two, and a group
    larger than the whole eval share stays in 'train'.
    """
    import pyarrow as pa

    column = keys if isinstance(keys, (pa.Array, pa.ChunkedArray)) else pa.array(keys, pa.string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    first, group, sizes = grouped(column, groups)
    held = _choose(column.take(pa.array(first)).to_pylist(), sizes, share, seed)
    return pa.array(np.where(held[group], "eval", "train"), pa.string())


def grouped(
    keys: "pa.Array", groups: "NDArray[np.int64] | None"
) -> "tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]":
    """Give each group's first row, each row's group, and each group's size.

    Groups are those given, or else the rows of one key; their numbers are dense.
    """
    if groups is None:
        groups = keys.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, first, group, sizes = np.unique(
        np.asarray(groups), return_index=True, return_inverse=True, return_counts=True
    )
    return first, group, sizes


def _choose(
    keys: list[str], sizes: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Choose the groups that are held out."""
    if share <= 0.0 or share >= 1.0 or len(keys) < 2:
        return np.full(len(keys), share >= 1.0)
    draws = np.array([draw(key, seed) for key in keys])
    return both_sides((draws < share) & _small(sizes, share), draws, sizes, share)


def _small(sizes: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    small: NDArray[np.bool_] = sizes <= max(1.0, share * sizes.sum())
    return small


def both_sides(
    held: NDArray[np.bool_], draws: NDArray[np.float64], sizes: NDArray[np.int64], share: float
) -> NDArray[np.bool_]:
    """Hold out a group where none is held, and let one go where all are."""
    if len(held) > 1 and 0.0 < share < 1.0:
        if not held.any():
            # The smallest draw, but no oversized group while another will do.
            held[np.lexsort((draws, ~_small(sizes, share)))[0]] = True
        if held.all():
            held[np.argmax(draws)] = False
    return held
