"""A project whose steps are fakes: what the engine does around steps can be tested in moments."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "fakes"))


@pytest.fixture
def fakes() -> Path:
    """The script that runs the command line with fake steps."""
    return Path(__file__).parent / "fakes" / "engine_fakes.py"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[object]:
    """A project with a spec, data and fake steps."""
    import engine_fakes

    from tuneforge.build import executor, session
    from tuneforge.steps import STEPS

    before, publish, check = dict(STEPS), executor.publish, session.check
    engine_fakes.install()
    folder = tmp_path / "project"
    folder.mkdir()
    yield engine_fakes.Project(folder)
    STEPS.update(before)
    executor.publish, session.check = publish, check
