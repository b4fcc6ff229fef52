"""The held-out split: share, stability, groups that stay whole."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.split import assign


def held(sides: pa.Array) -> np.ndarray:
    return np.asarray(sides.to_pylist()) == "eval"


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.9])
def test_the_share_is_near_what_was_asked(share: float) -> None:
    sides = held(assign([f"row {i}" for i in range(20_000)], share=share, seed=3))
    assert sides.mean() == pytest.approx(share, abs=4 * (share * (1 - share) / 20_000) ** 0.5)


def test_rows_added_or_removed_change_no_other_side() -> None:
    keys = [f"row {i}" for i in range(1000)]
    first = held(assign(keys, share=0.1, seed=3))
    more = held(assign([*keys, *(f"new {i}" for i in range(500))], share=0.1, seed=3))
    assert np.array_equal(first, more[:1000])
    assert np.array_equal(first[::2], held(assign(keys[::2], share=0.1, seed=3)))


def test_the_seed_decides() -> None:
    keys = [f"row {i}" for i in range(1000)]
    one, again, other = (held(assign(keys, share=0.5, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert 300 < (one != other).sum() < 700


@given(
    st.lists(st.tuples(st.integers(0, 9), st.text(max_size=3)), max_size=60),
    st.floats(0.0, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_groups_stay_whole_and_both_sides_get_rows(
    rows: list[tuple[int, str]], share: float, seed: int
) -> None:
    groups = np.array([group for group, _ in rows], np.int64)
    sides = held(assign([key for _, key in rows], share=share, seed=seed, groups=groups))
    assert len(sides) == len(rows)
    for group in set(groups.tolist()):
        assert len(set(sides[groups == group].tolist())) == 1
    if share == 0.0:
        assert not sides.any()
    elif share == 1.0:
        assert sides.all()
    elif len(set(groups.tolist())) > 1:
        assert sides.any()
        assert not sides.all()


def test_equal_keys_stay_together_without_groups() -> None:
    sides = held(assign(["a", "b", "a", "c", "b"] * 20, share=0.4, seed=0))
    assert len({tuple(sides[i::5]) for i in (0, 2)}) == 1


def test_a_group_larger_than_the_eval_share_is_not_held_out() -> None:
    groups = np.array([0] * 60 + list(range(1, 41)))
    for seed in range(200):
        keys = [f"{seed} {i}" for i in range(100)]
        sides = held(assign(keys, share=0.2, seed=seed, groups=groups))
        assert not sides[0]
        assert sides.any()


def test_tiny_datasets_get_a_row_for_evaluation() -> None:
    assert held(assign(["a", "b"], share=0.01, seed=1)).sum() == 1
    assert held(assign(["a", "b"], share=0.99, seed=1)).sum() == 1
    assert assign(["a"], share=0.5, seed=1).to_pylist() == ["train"]
    assert assign(pa.chunked_array([["a"], ["b"]]), share=1.0, seed=1).to_pylist() == ["eval"] * 2
    assert assign([], share=0.5, seed=1).to_pylist() == []
