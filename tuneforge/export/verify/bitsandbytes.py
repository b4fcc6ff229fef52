"""The tensors of a folder quantised with bitsandbytes, read back without it.

NF4 codes must be those that `tuneforge.weights.nf4` computes from the source (it is equal to
bitsandbytes in every bit); their scales, quantised in turn, and int8 rows within the rounding of
their definitions; all other tensors equal.
"""

import json

import numpy as np
from numpy.typing import NDArray

from tuneforge.export.verify.report import Report
from tuneforge.weights import Weights, nf4

READER = "numpy"
CHUNK = 1 << 20  # elements compared at a time; whole blocks of NF4
# Of the largest of 256 scales: half the widest step of bitsandbytes' signed dynamic 8-bit table.
NESTED_STEP = 0.0071
HALF = 2.0**-10  # bitsandbytes rounds weights and scales to float16 before int8
COMPANIONS = (
    ".absmax", ".nested_absmax", ".nested_quant_map", ".quant_map", ".weight_format", ".SCB",
    ".quant_state.bitsandbytes__nf4",
)  # fmt: skip
STATE = ".quant_state.bitsandbytes__nf4"

Rows = NDArray[np.float32]


def check_quantised(source: Weights, shipped: Weights, *, tied: bool, report: Report) -> None:
    """Check every tensor of a quantised folder against the one it was made from."""
    wrong = []
    for name in source:
        if name == "lm_head.weight" and tied:
            continue
        if name not in shipped:
            wrong.append(f"{name} is missing")
        elif f"{name}{STATE}" in shipped:
            wrong += _nf4(name, source, shipped)
        elif shipped[name].dtype == "I8":
            wrong += _int8(name, source, shipped)
        else:
            wrong += _same(name, source, shipped)
    extra = (name for name in shipped if name not in source and not name.endswith(COMPANIONS))
    wrong += [f"{name} is not in the source" for name in extra]
    detail = "; ".join(wrong[:5]) or f"{len(source)} tensors"
    report.add("weights", "*.safetensors", READER, not wrong, detail)


def _values(weights: Weights, name: str, start: int, stop: int) -> Rows:
    return weights.read(name, start, stop).astype(np.float32)


def _same(name: str, source: Weights, shipped: Weights) -> list[str]:
    if shipped[name].shape != source[name].shape:
        return [f"{name} has another shape"]
    for start in range(0, source[name].size, CHUNK):
        stop = min(start + CHUNK, source[name].size)
        wanted, found = _values(source, name, start, stop), _values(shipped, name, start, stop)
        if not np.array_equal(wanted, found):
            return [f"{name} differs"]
    return []


def _int8(name: str, source: Weights, shipped: Weights) -> list[str]:
    shape = source[name].shape
    if shipped[name].shape != shape:
        return [f"{name} has another shape"]
    scales = shipped.read(f"{name.removesuffix('.weight')}.SCB").astype(np.float32)
    width = shape[1]
    step = max(1, CHUNK // width)
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        wanted = _values(source, name, start * width, stop * width).reshape(-1, width)
        scale = scales[start:stop, None]
        largest = np.abs(wanted).max(axis=1, keepdims=True)
        codes = _values(shipped, name, start * width, stop * width).reshape(-1, width)
        error = np.abs(codes * scale / np.float32(127) - wanted)
        allowed = scale * np.float32(0.51 / 127) + np.abs(wanted) * np.float32(2 * HALF)
        if not (error <= allowed + np.float32(1e-7)).all():
            return [f"{name} is off by {float(error.max()):.3g}"]
        if not np.allclose(scale, largest, rtol=2 * HALF, atol=1e-7):
            return [f"{name} has other scales than its rows' largest"]
    return []


def _nf4(name: str, source: Weights, shipped: Weights) -> list[str]:
    state = json.loads(shipped.read(f"{name}{STATE}").tobytes())
    if tuple(state["shape"]) != source[name].shape or state["blocksize"] != nf4.BLOCK:
        return [f"{name} has another shape or block size"]
    maxima: list[Rows] = []
    size = source[name].size
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        values = _values(source, name, start, stop)
        largest = nf4.block_maxima(values)
        maxima.append(largest)
        stored = shipped.read(name, start // 2, (stop + 1) // 2)
        if not np.array_equal(nf4.pack(nf4.quantise(values, largest)).reshape(-1), stored):
            return [f"{name} has other codes"]
    return _scales(name, np.concatenate(maxima), float(state["nested_offset"]), shipped)


def _scales(name: str, maxima: Rows, offset: float, shipped: Weights) -> list[str]:
    codes = shipped.read(f"{name}.absmax")
    outer = shipped.read(f"{name}.nested_absmax").astype(np.float32)
    if codes.size != maxima.size:
        return [f"{name} has another number of scales"]
    table = shipped.read(f"{name}.nested_quant_map")[codes]
    each = np.repeat(outer, nf4.NESTED_BLOCK)[: maxima.size]
    error = np.abs(table * each + np.float32(offset) - maxima)
    allowed = each * np.float32(NESTED_STEP) + np.abs(maxima) * np.float32(1e-5)
    centred = np.abs(maxima - np.float32(offset))
    fits = np.allclose(outer, _largest(centred), rtol=1e-3, atol=1e-7)
    if not fits or not (error <= allowed).all():
        return [f"{name} has other scales"]
    if not np.array_equal(shipped.read(f"{name}.quant_map"), nf4.CODE):
        return [f"{name} has another table of codes"]
    return []


def _largest(centred: Rows) -> Rows:
    starts = np.arange(0, centred.size, nf4.NESTED_BLOCK)
    return np.asarray(np.maximum.reduceat(centred, starts), np.float32)
