"""Every method without randomness against stored results of mergekit 0.1.5, in float32.

DARE and DELLA are not here: their masks come from another random stream, and mergekit rescales
what is left to the old L1 norm where the papers divide by the chance to be kept.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "mergekit_cases.json").read_text())


@pytest.fixture(scope="module")
def stored() -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, values in load_file(DATA / "mergekit_results.safetensors").items():
        group, name = key.split("/")
        found.setdefault(group, {})[name] = values
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_result_is_mergekits(stored: Any, merged: Any, case: str) -> None:
    settings = CASES[case]
    inputs = [(stored[name], weights) for name, weights in settings["models"].items()]
    result = merged(stored["base"], inputs, method=settings["method"], **settings["ours"])
    for name, values in stored[case].items():
        scale = np.abs(values).max()
        assert np.abs(result[name] - values).max() <= 2e-5 * scale, name
