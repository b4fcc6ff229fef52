"""Sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_specs.errors import UsageError

from tuneforge.fit import parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20 * 10**9),
        ("20 GiB", 20 * 2**30),
        ("24g", 24 * 10**9),
        ("1.5TB", 1_500_000_000_000),
        ("512MiB", 512 * 2**20),
        ("1024", 1024),
        ("16 b", 16),
        ("2KiB", 2048),
    ],
)
def test_reads(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1 GB 2", "1XB", "0", "0GB", "1e9", "nan", "1iB"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as caught:
        parse_size(text)
    assert "20GB" in caught.value.fix


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (2**20, "1.0 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_writes(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(2**20, 2**45))
def test_what_it_writes_reads_back_near(size: int) -> None:
    assert parse_size(size_text(size)) == pytest.approx(size, rel=0.05)
