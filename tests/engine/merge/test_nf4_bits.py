"""NF4 in numpy against bitsandbytes, bit for bit."""

import numpy as np
import pytest

from tuneforge.weights import nf4


def bits(values: np.ndarray) -> list[int]:
    return np.asarray(values, np.float32).reshape(-1).view(np.uint32).tolist()


@pytest.mark.train
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(256, 300), (7, 13), (1, 64), (2048, 1024), (5, 4), (3, 2)])
def test_codes_and_weights_equal_bitsandbytes(dtype: str, shape: tuple[int, int]) -> None:
    import torch
    from bitsandbytes import functional as bnb

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(shape[0])
    weights = (torch.randn(shape, generator=generator) * 0.02).to(getattr(torch, dtype))
    packed, state = bnb.quantize_4bit(
        weights, blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    flat = weights.float().numpy().reshape(-1)
    maxima = nf4.block_maxima(flat)
    codes = nf4.quantise(flat, maxima)
    assert nf4.pack(codes).tolist() == packed.reshape(-1).tolist()
    inner, outer, offset = nf4.nested(maxima)
    assert bits(offset) == bits(state.offset.numpy())
    assert inner.tolist() == state.absmax.tolist()
    assert bits(outer) == bits(state.state2.absmax.numpy())
    ours = torch.from_numpy(nf4.roundtrip(flat)).to(weights.dtype).reshape(shape)
    assert torch.equal(ours, bnb.dequantize_4bit(packed, state))


@pytest.mark.train
def test_tables_equal_bitsandbytes() -> None:
    from bitsandbytes import functional as bnb

    assert bits(nf4.CODE) == bits(bnb.get_4bit_type("nf4", "cpu").numpy())
    assert bits(nf4.dynamic_code()) == bits(bnb.create_dynamic_map().numpy())


@pytest.mark.train
def test_the_mean_is_torchs() -> None:
    import torch

    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    for size in [1, 3, 5, 7, 8, 9, 31, 32, 33, 63, 500, 1200, 4096, 40_000, 70_001, 300_003]:
        values = np.abs(generator.normal(size=size)).astype(np.float32)
        assert bits(nf4.mean(values)) == bits(torch.from_numpy(values).mean().numpy()), size


def test_zeros_stay_zero() -> None:
    assert not nf4.roundtrip(np.zeros(1000, np.float32)).any()


def test_codes_are_the_nearest_of_the_table() -> None:
    values = np.random.default_rng(2).normal(size=64 * 50).astype(np.float32)
    maxima = nf4.block_maxima(values)
    codes = nf4.quantise(values, maxima)
    scaled = values.astype(np.float64).reshape(-1, 64) / maxima.astype(np.float64)[:, None]
    distances = np.abs(scaled.reshape(-1, 1) - nf4.CODE.astype(np.float64))
    chosen = distances[np.arange(codes.size), codes]
    assert (chosen <= distances.min(axis=1) + 1e-6).all()
