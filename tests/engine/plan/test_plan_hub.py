"""Hub models: pinned, cached, or said to be missing; never guessed."""

from pathlib import Path

import pytest
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.build.lockfile import pins
from tuneforge.plan.hub import Located, cache_folder, local_folder, locate

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with two snapshots of org/model, of which main is the newer."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--org--model"
    for commit in (OLD, NEW):
        (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEW)
    return repository


def find(name: str, pinned: str = "", revision: str = "main", directory: Path = Path()) -> Located:
    return locate(name, revision, kind="model", pinned=pinned, directory=directory)


def test_a_cached_revision_is_its_commit(cache: Path) -> None:
    assert find("org/model") == Located(NEW, cache / "snapshots" / NEW)


def test_a_pin_wins_over_what_the_revision_is_now(cache: Path) -> None:
    assert find("org/model", pinned=OLD).commit == OLD
    assert find("org/model", revision=OLD).commit == OLD


def test_a_local_folder_wins_over_the_hub(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    found = find("org/model", directory=tmp_path)
    assert found == Located(folder=tmp_path / "org" / "model")


def test_what_is_neither_here_nor_reachable_names_the_model(cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentMissing, match="model org/other: not on this machine") as caught:
        find("org/other")
    assert "hf download org/other" in caught.value.fix


def test_paths_are_never_taken_for_hub_ids(tmp_path: Path) -> None:
    for name in ("./model", "/no/model", "~/no-such-model", "a/b/c"):
        with pytest.raises(EnvironmentMissing, match="model folder not found"):
            local_folder(name, tmp_path)
    assert local_folder("org/model", tmp_path) is None


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hub"


def test_pins_are_read_from_a_lock_file() -> None:
    params = {"base.model": "org/model", "base.model@commit": OLD}
    assert pins({"steps": {"base": {"params": params}}}) == {"base.model": OLD}
    assert pins({}) == {}


def test_the_lock_file_pins_a_base_though_its_revision_moves(
    cache: Path, project, monkeypatch
) -> None:
    from tuneforge.cli import main

    project.edit('[base.scratch]\ncorpus = ["words"]', '[base]\nmodel = "org/model"')
    assert main(["build", str(project.spec)]) == 0
    (cache / "refs" / "main").write_text(OLD)
    project.ran  # noqa: B018
    assert main(["build", str(project.spec)]) == 0
    assert project.ran == []
    (project.folder / "spec.lock").unlink()
    assert main(["build", str(project.spec)]) == 0
    assert "base" in project.ran
