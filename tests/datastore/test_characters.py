import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.characters import DIGIT, SYMBOL, shares

NOT_SURROGATES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def plainly(text: str | None, kinds: str) -> float:
    """Count one character at a time."""
    visible = [c for c in text or "" if c not in "\t\n\f\r "]
    found = [c for c in visible if (unicodedata.category(c)[0] in "LMN") == (kinds != "symbols")]
    if kinds == "digits":
        found = [c for c in visible if unicodedata.category(c)[0] == "N"]
    return len(found) / max(1, len(visible))


@given(st.lists(st.none() | NOT_SURROGATES, max_size=8), st.integers(0, 3))
def test_shares_are_those_counted_one_by_one(texts: list[str | None], skipped: int) -> None:
    array = pa.array(texts, pa.string())[min(skipped, len(texts)) :]
    texts = texts[skipped:]
    assert shares(array, SYMBOL).to_pylist() == [plainly(text, "symbols") for text in texts]
    assert shares(array, DIGIT).to_pylist() == [plainly(text, "digits") for text in texts]


@pytest.mark.parametrize(
    ("text", "symbols", "digits"),
    [("", 0, 0), ("   \n", 0, 0), ("ab12", 0, 0.5), ("a!?\t", 2 / 3, 0), ("né ٣", 0, 1 / 3)],
)
def test_known_shares(text: str, symbols: float, digits: float) -> None:
    array = pa.chunked_array([[text], [text]])
    assert shares(array, SYMBOL).to_pylist() == pytest.approx([symbols] * 2)
    assert shares(array, DIGIT).to_pylist() == pytest.approx([digits] * 2)


def test_the_regular_expression_says_the_same() -> None:
    text = "Total: 42 € (≈ 45 $) — naïve?!"
    visible = re.sub(r"\s", "", text)
    symbols = re.sub(r"[\w]", "", visible)
    assert shares(pa.array([text]), SYMBOL)[0].as_py() == pytest.approx(len(symbols) / len(visible))
