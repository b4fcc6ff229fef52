"""The reader that verification uses, against the `gguf` library's own."""

import numpy as np
import pytest
from tuneforge_specs.errors import DataError

from tuneforge.export.gguf.types import FILE_TYPES
from tuneforge.export.verify.gguf_file import GgufFile
from tuneforge.worker.gguf_model import read_metadata


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_it_reads_what_the_library_reads(tiny, write_gguf_file, kind):
    from gguf import GGUFReader, dequantize

    path = write_gguf_file(tiny.write(), kind)
    with GgufFile(path) as file:
        theirs = read_metadata(path)
        counts = {key: theirs.pop(key) for key in list(theirs) if key.startswith("GGUF.")}
        assert file.metadata == theirs
        assert counts["GGUF.tensor_count"] == len(file.tensors)
        for tensor in GGUFReader(path).tensors:
            stored = file.tensors[tensor.name]
            assert stored.shape == tuple(int(n) for n in reversed(tensor.shape))
            assert stored.type == tensor.tensor_type.name
            values = dequantize(tensor.data, tensor.tensor_type)
            rows = stored.shape[0]
            np.testing.assert_array_equal(file.rows(tensor.name, 0, rows), values)
            np.testing.assert_array_equal(file.rows(tensor.name, 3, rows - 2), values[3:-2])


def test_what_is_no_gguf_file_is_refused(tiny, write_gguf_file, tmp_path):
    whole = write_gguf_file(tiny.write()).read_bytes()
    for number, damaged in enumerate((b"", b"GGML" + whole[4:], whole[:5000])):
        file = tmp_path / f"{number}.gguf"
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="no readable GGUF file"):
            GgufFile(file)


def test_a_file_that_ends_inside_a_tensor_is_refused(tiny, write_gguf_file):
    path = write_gguf_file(tiny.write())
    with GgufFile(path) as file:
        last = max(file.tensors.values(), key=lambda tensor: tensor.offset)
        path.write_bytes(path.read_bytes()[: last.offset + 8])
    with GgufFile(path) as file, pytest.raises(DataError, match="ends inside"):
        file.rows(last.name, 0, last.shape[0])
