"""Every method without randomness against stored results of mergekit 0.1.5, in float32.

DARE and DELLA are not here: their masks come from another random stream, and mergekit rescales
what is left to the old L1 norm where the papers divide by the chance to be kept.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

DATA = Path(__file__).parent / "data"
CASES = {
    f"{suite}/{name}": case
    for suite in ("mergekit", "gradients")
    for name, case in json.loads((DATA / f"{suite}_cases.json").read_text()).items()
}


@cache
def stored(suite: str) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, values in load_file(DATA / f"{suite}_results.safetensors").items():
        group, name = key.split("/")
        found.setdefault(group, {})[name] = values
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_mergekits(merged: Any, case: str) -> None:
    settings = CASES[case]
    suite, name = case.split("/")
    results = stored(suite)
    inputs = [(results[model], weights) for model, weights in settings["models"].items()]
    result = merged(results["base"], inputs, method=settings["method"], **settings["ours"])
    for tensor, values in results[name].items():
        scale = np.abs(values).max()
        assert np.abs(result[tensor] - values).max() <= 2e-5 * scale, tensor
