"""Fixtures shared by every test."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A deadline would make a test depend on what else the machine does.
settings.register_profile("tuneforge", deadline=None)
settings.load_profile("tuneforge")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real datasets; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("TUNEFORGE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").is_file():
        pytest.skip(f"real datasets are not here: {folder} (set TUNEFORGE_SHARED_DATA)")
    return folder
