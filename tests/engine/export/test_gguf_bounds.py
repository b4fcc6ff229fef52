"""The stated error bound of every type holds for gguf's own quantise and dequantise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuneforge.export.gguf.types import FILE_TYPES, byte_size
from tuneforge.export.verify.bounds import error_bound

FINITE = st.floats(-1e4, 1e4, width=32, allow_nan=False, allow_subnormal=False)
ROWS = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(64)), elements=FINITE)


@pytest.mark.parametrize("kind", sorted({t.tensor for t in FILE_TYPES.values()}))
@settings(max_examples=150, deadline=None)
@given(rows=ROWS, scale=st.sampled_from([1.0, 1e-3, 1e-6]))
def test_error_is_within_the_bound(kind, rows, scale):
    from gguf import GGMLQuantizationType, dequantize, quantize

    rows = rows * np.float32(scale)
    with np.errstate(over="ignore", invalid="ignore"):  # denormal blocks, as in the writer
        stored = quantize(rows, GGMLQuantizationType[kind])
    assert stored.nbytes == byte_size(kind, rows.shape)
    found = dequantize(stored, GGMLQuantizationType[kind])
    assert (np.abs(found - rows) <= error_bound(kind, rows)).all()


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q5_0", "Q4_0"])
def test_the_bound_is_not_idle(kind):
    """A value off by three times the bound is outside it: the check can fail."""
    rows = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    bound = error_bound(kind, rows)
    assert (bound > 0).all()
    assert (bound < 0.6 * np.abs(rows).reshape(-1, 32).max(axis=1).repeat(32).reshape(8, 64)).all()
