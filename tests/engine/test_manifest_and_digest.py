"""Manifests and digests, against hashes computed independently."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from tuneforge_specs.errors import DataError

from tuneforge.digest import FileDigests, file_digest, walk_files
from tuneforge.manifest import compare, content_digest, describe_files, read_manifest
from tuneforge.workspace import Workspace, folder_of


def test_file_digests_are_sha256sum_s(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(os.urandom(300_000))
    told = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True)
    assert file_digest(path) == told.stdout.split()[0]


def test_the_cache_spares_hashing_and_sees_changes(tmp_path: Path, monkeypatch) -> None:
    from tuneforge import digest

    path = tmp_path / "x"
    path.write_text("one")
    os.utime(path, (1, 1))
    cache = FileDigests(tmp_path / "cache.json")
    assert cache.digest(path) == hashlib.sha256(b"one").hexdigest()
    cache.save()
    hashed = []
    monkeypatch.setattr(digest, "file_digest", lambda p: hashed.append(p) or "hashed")
    again = FileDigests(tmp_path / "cache.json")
    assert again.digest(path) == hashlib.sha256(b"one").hexdigest()
    assert hashed == []
    path.write_text("two")  # same size, another time
    assert again.digest(path) == "hashed"


def test_a_file_written_just_now_is_not_trusted_yet(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    stat = path.stat()
    cache = FileDigests(tmp_path / "cache.json")
    cache.digest(path)
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as within one clock tick
    assert cache.digest(path) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 3}', "null"])
def test_a_broken_cache_is_only_slower(tmp_path: Path, text: str) -> None:
    (tmp_path / "cache.json").write_text(text)
    path = tmp_path / "x"
    path.write_text("one")
    assert FileDigests(tmp_path / "cache.json").digest(path) == hashlib.sha256(b"one").hexdigest()


def test_the_content_digest_sees_names_and_bytes_only(tmp_path: Path) -> None:
    digests = []
    for name, text in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")]:
        folder = tmp_path / str(len(digests))
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / name).write_text(text)
        (folder / "manifest.json").write_text(str(len(digests)))
        digests.append(content_digest(describe_files(folder)))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_files_behind_a_linked_folder_belong_to_the_artifact(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").write_text("1")
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    (artifact / "model").symlink_to(tmp_path / "model")
    assert [name for name, _ in walk_files(artifact)] == ["model/w"]
    files = describe_files(artifact)
    manifest = {"files": files, "digest": content_digest(files)}
    assert compare(artifact, manifest) == []
    (tmp_path / "model" / "w").write_text("2")
    assert [damage.file for damage in compare(artifact, manifest)] == ["model/w"]


def test_every_damage_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    files = describe_files(tmp_path)
    manifest = {"files": files, "digest": content_digest(files)}
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("x")
    (tmp_path / "d").write_text("d")
    found = {damage.file: damage.message for damage in compare(tmp_path, manifest)}
    assert found == {
        "a": "missing",
        "b": "its bytes differ from what was written",
        "d": "not in the manifest",
    }
    wrong = {**manifest, "digest": "0"}
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d").unlink()
    assert [damage.file for damage in compare(tmp_path, wrong)] == ["manifest.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v": 99}'])
def test_a_broken_manifest_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_folders_of_steps(tmp_path: Path) -> None:
    assert folder_of("base") == "base/base"
    assert folder_of("train.a") == "train/a"
    place = Workspace(tmp_path).artifact_path("train.a", "0123456789abcdef0123")
    assert place == tmp_path / "artifacts" / "train" / "a" / "0123456789abcdef"
