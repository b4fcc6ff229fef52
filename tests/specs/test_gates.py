"""The language of gates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_specs.evaluate import ExactMatch
from tuneforge_specs.gates import Gate, metric_name, parse_gate


@pytest.mark.parametrize(
    ("text", "metric", "op", "offset", "relative"),
    [
        ("exact-match >= 0.8", "exact-match", ">=", 0.8, False),
        ("exact-match>=80%", "exact-match", ">=", 0.8, False),
        ("loss < base", "loss", "<", 0.0, True),
        ("loss <= base - 0.1", "loss", "<=", -0.1, True),
        ("json-valid > base+5%", "json-valid", ">", 0.05, True),
        (" loss == -1e-3 ", "loss", "==", -0.001, False),
        ("bleu.4 > .5", "bleu.4", ">", 0.5, False),
    ],
)
def test_reads(text: str, metric: str, op: str, offset: float, relative: bool) -> None:
    gate = parse_gate(text)
    assert (gate.metric, gate.op, gate.relative) == (metric, op, relative)
    assert gate.offset == pytest.approx(offset)
    assert gate.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        *("", "loss", "loss <", "< 3", "loss = 3", "loss < base base", "loss < base * 2"),
        *("loss < x", "loss < base + x", "loss < 3 + base", "loss < nan", "0.8 < loss"),
        *("loss < 3 4", "loss >< 3"),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a gate"):
        parse_gate(text)


@given(
    value=st.floats(-10, 10),
    base=st.floats(-10, 10),
    offset=st.decimals(-5, 5, places=3),
    op=st.sampled_from([">=", ">", "<=", "<", "=="]),
)
def test_compares_as_python_does(value: float, base: float, offset: object, op: str) -> None:
    sign = "-" if str(offset).startswith("-") else "+"
    amount = str(offset).lstrip("-")
    absolute = parse_gate(f"m {op} {offset}")
    relative = parse_gate(f"m {op} base {sign} {amount}")
    number = float(str(offset))
    assert absolute.passes(value) == eval(f"{value!r} {op} {number!r}")
    assert relative.passes(value, base) == eval(f"{value!r} {op} {base + number!r}")


@pytest.mark.parametrize("op", [">=", ">", "<=", "<", "=="])
def test_not_a_number_passes_nothing(op: str) -> None:
    assert not parse_gate(f"loss {op} 1").passes(math.nan)
    assert not parse_gate(f"loss {op} base").passes(1.0, math.nan)


def test_a_relative_gate_needs_the_base() -> None:
    with pytest.raises(ValueError, match="needs the base's loss"):
        parse_gate("loss < base").passes(1.0)


def test_names_of_metrics() -> None:
    assert metric_name("loss") == "loss"
    assert metric_name(ExactMatch(kind="exact-match")) == "exact-match"


def test_a_gate_is_a_value() -> None:
    assert parse_gate("loss < 1") == Gate("loss < 1", "loss", "<", 1.0, False)
