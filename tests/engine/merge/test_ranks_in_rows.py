"""The radix sort behind DELLA's chances, against numpy's stable sort."""

import ml_dtypes
import numpy as np
import pytest

from tuneforge.merge.methods.della import chances


@pytest.mark.parametrize("shape", [(3, 2), (7, 33), (5, 896), (2, 30_000)])
@pytest.mark.parametrize("kind", ["float32", "many equal", "special"])
def test_chances_rise_with_the_rank_and_equals_keep_their_order(
    shape: tuple[int, int], kind: str
) -> None:
    delta = (np.random.default_rng(1).normal(size=shape) * 1e-3).astype(np.float32)
    if kind == "many equal":
        delta = delta.astype(ml_dtypes.bfloat16).astype(np.float32)
    if kind == "special":
        delta[:, ::2], delta[:, 1::3] = 0.0, -0.0
        delta[0, 0], delta[1, 1], delta[-1, -1] = np.inf, np.nan, -np.inf
    ramp = np.linspace(0.4, 0.6, shape[1]).astype(np.float32)
    order = np.argsort(np.abs(delta), axis=1, kind="stable")
    expected = np.empty_like(delta)
    np.put_along_axis(expected, order, np.broadcast_to(ramp, shape), axis=1)
    assert np.array_equal(chances(delta, 0.5, 0.1), expected)
