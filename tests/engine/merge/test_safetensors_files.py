"""The reader refuses every malformed file; the writer's files are read by the reference library."""

import json
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tuneforge_specs.errors import DataError, EnvironmentMissing, TuneforgeError, UsageError

from tuneforge.weights import Entry, ShardWriter, open_weights, parse_size, read_header
from tuneforge.weights import writer as writer_module


def write(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(start: int, stop: int, shape: object = None, dtype: object = "F32") -> dict[str, object]:
    shape = [(stop - start) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


ONE = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
HOSTILE = {
    "huge header": (b"{}", b"", 1 << 62),
    "header past the end": (b"{}", b"", 100),
    "not json": (b"{nope", b"", None),
    "not utf-8": (b"\xff\xfe", b"", None),
    "deep nesting": (b"[" * 50_000, b"", None),
    "a list": ([], b"", None),
    "duplicate names": (b'{"a":%b,"a":%b}' % (ONE, ONE), b"1234", None),
    "negative offset": ({"a": entry(-4, 0, [1])}, b"1234", None),
    "huge offset": ({"a": entry(2**63, 2**63 + 4, [1])}, b"1234", None),
    "backwards": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, b"1234", None),
    "overlap": ({"a": entry(0, 8), "b": entry(4, 12)}, b"x" * 12, None),
    "same place": ({"a": entry(0, 8), "b": entry(0, 8)}, b"x" * 8, None),
    "gap": ({"a": entry(0, 4), "b": entry(8, 12)}, b"x" * 12, None),
    "trailing bytes": ({"a": entry(0, 4)}, b"x" * 12, None),
    "truncated": ({"a": entry(0, 400)}, b"x" * 12, None),
    "shape lies": ({"a": entry(0, 4, [2])}, b"x" * 4, None),
    "shape overflows": ({"a": entry(0, 0, [2**40, 2**40])}, b"", None),
    "negative shape": ({"a": entry(0, 4, [-1, -1])}, b"x" * 4, None),
    "boolean shape": ({"a": entry(0, 4, [True])}, b"x" * 4, None),
    "unknown dtype": ({"a": entry(0, 4, [1], "Q9")}, b"x" * 4, None),
    "dtype is a list": ({"a": entry(0, 4, [1], ["F32"])}, b"x" * 4, None),
    "entry is a number": ({"a": 3}, b"", None),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "a": entry(0, 4)}, b"x" * 4, None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_malformed_file_is_refused(tmp_path: Path, case: str) -> None:
    header, data, length = HOSTILE[case]
    path = write(tmp_path / "model.safetensors", header, data, length)
    with pytest.raises(DataError) as caught:
        open_weights(tmp_path)
    assert str(path) in caught.value.message
    assert caught.value.fix


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_do_worse_than_an_error(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    path.write_bytes(data)
    try:
        tensors, _ = read_header(path)
    except DataError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) <= len(data)


@pytest.mark.parametrize(
    "shard",
    ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", ".x.safetensors", 3,
     "C:\\x.safetensors", "a\0.safetensors", "model.bin"],
)  # fmt: skip
def test_an_index_cannot_leave_its_folder(tmp_path: Path, shard: object) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(DataError, match="plain file name"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "1.safetensors", "b": "1.safetensors", "c": "1.safetensors"}, "not in"),
        ({"a": "1.safetensors"}, "does not list it"),
        ({"a": "1.safetensors", "b": "2.safetensors"}, "says 2"),
        ({"a": "9.safetensors"}, "not there"),
        ({}, "empty"),
        ([], "empty"),
    ],
)
def test_an_index_must_match_its_shards(tmp_path: Path, weight_map: object, message: str) -> None:
    save_file({"a": np.zeros(2), "b": np.zeros(3)}, tmp_path / "1.safetensors")
    save_file({"x": np.zeros(2)}, tmp_path / "2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(DataError, match=message):
        open_weights(tmp_path)


def test_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(DataError, match="pickled") as caught:
        open_weights(tmp_path)
    assert "save_pretrained" in caught.value.fix


def test_a_missing_folder_and_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="no such"):
        open_weights(tmp_path / "nowhere")
    with pytest.raises(EnvironmentMissing, match=r"no model\.safetensors"):
        open_weights(tmp_path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    save_file({"a": np.ones(100_000, np.float32)}, tmp_path / "model.safetensors")
    weights = open_weights(tmp_path)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match="ends inside"):
        weights.read("a")


@pytest.mark.parametrize("shard_size", [10**9, 600])
def test_written_shards_are_what_the_reference_library_reads(
    tmp_path: Path, shard_size: int
) -> None:
    generator = np.random.default_rng(0)
    tensors = {
        "half": generator.normal(size=(7, 5)).astype(np.float16),
        "brain": generator.normal(size=(9, 4)).astype(ml_dtypes.bfloat16),
        "wide": generator.normal(size=(11, 6)),
        "byte": np.arange(3, dtype=np.uint8),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.float32(2.5).reshape(()),
    }
    codes = {"half": "F16", "brain": "BF16", "wide": "F64", "byte": "U8", "empty": "F32"}
    entries = [Entry(n, codes.get(n, "F32"), tensors[n].shape) for n in tensors]
    with ShardWriter(tmp_path / "out", entries, shard_size) as writer:
        for name, values in tensors.items():
            flat = values.reshape(-1)
            middle = flat.size // 2
            writer.write(name, middle, flat[middle:])
            writer.write(name, 0, flat[:middle])
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert (len(files) > 1) == (shard_size == 600)
    read = {name: value for file in files for name, value in load_file(file).items()}
    for name, values in tensors.items():
        assert read[name].dtype == values.dtype
        assert read[name].tobytes() == values.tobytes()
    with safe_open(files[0], "np") as file:
        assert file.metadata() == {"format": "pt"}
    with open_weights(tmp_path / "out") as weights:
        assert set(weights) == set(tensors)
        assert weights.read("brain").tobytes() == tensors["brain"].tobytes()
        assert weights.read("wide", 4, 9).tolist() == tensors["wide"].reshape(-1)[4:9].tolist()


@pytest.mark.parametrize("fast", [True, False])
def test_copies_are_the_same_bytes(tmp_path: Path, monkeypatch, fast: bool) -> None:
    if not fast:

        def refuse(*_: object) -> int:
            raise OSError(18, "cross-device")

        monkeypatch.setattr(writer_module.os, "copy_file_range", refuse)
    values = np.random.default_rng(1).normal(size=(3000, 1001))
    save_file({"a": values, "b": values[:3]}, tmp_path / "model.safetensors")
    weights = open_weights(tmp_path)
    entries = [Entry("b", "F64", (3, 1001)), Entry("c", "F64", (3000, 1001))]
    with ShardWriter(tmp_path / "out", entries, 10**9) as writer:
        writer.copy("b", weights)
        writer.copy("c", weights, "a")
    assert load_file(tmp_path / "out" / "model.safetensors")["c"].tobytes() == values.tobytes()


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="no space"):
        ShardWriter(tmp_path / "out", [Entry("a", "F64", (1 << 40,))], 10**9)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_while_writing(tmp_path: Path, monkeypatch) -> None:
    writer = ShardWriter(tmp_path / "out", [Entry("a", "F64", (10,))], 10**9)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module.os, "pwrite", full)
    with pytest.raises(EnvironmentMissing, match="no space") as caught:
        writer.write("a", 0, np.zeros(10))
    assert isinstance(caught.value, TuneforgeError)


def test_sizes() -> None:
    assert parse_size("5GB") == 5 * 10**9
    assert parse_size("1.5 MiB") == 3 * 2**19
    with pytest.raises(UsageError):
        parse_size("5 gigs")
