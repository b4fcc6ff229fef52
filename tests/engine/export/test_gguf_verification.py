"""Verification without torch passes on sound files and fails on each kind of damage."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuneforge_specs.errors import GateFailed

from tuneforge.export.gguf.architectures import llama
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.gguf import Subject, verify_gguf
from tuneforge.export.verify.report import Report
from tuneforge.weights import open_weights

NO_PROBE = "not in this test"
TYPES = ("f32", "f16", "bf16", "q8_0", "q5_0", "q4_0")


def verify(folder: Path, file: Path, terminators: tuple[int, ...] = (2,)) -> Report:
    with open_weights(folder) as weights:
        subject = Subject({"f32": file}, ModelFolder(folder), weights, terminators)
        return verify_gguf(subject, NO_PROBE)


def failed(report: Report) -> set[str]:
    return {check.name for check in report.failed}


def rewrite(file: Path, **changes: Any) -> None:
    """Write a GGUF file again with some metadata changed, as a broken exporter would have."""
    from gguf import GGUFReader, GGUFValueType, GGUFWriter

    reader = GGUFReader(file)
    out = file.with_suffix(".new")
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        value = changes.get(key, field.contents())
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, value, kind, inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    out.replace(file)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_passes(tiny, write_gguf_file, kind):
    folder = tiny.write()
    report = verify(folder, write_gguf_file(folder, kind))
    assert failed(report) == set()
    assert {"weights", "tokens", "merges", "token ids", "end of turn", "chat template"} <= {
        check.name for check in report.checks
    }
    assert NO_PROBE in report.unverified[0]


def test_bfloat16_source_survives_exactly(tiny, write_gguf_file):
    folder = tiny.write(dtype="bfloat16")
    report = verify(folder, write_gguf_file(folder, "bf16"))
    assert failed(report) == set()
    detail = next(check.detail for check in report.checks if check.name == "weights")
    assert "at most 0.00" in detail


def test_widths_that_are_no_multiple_of_32_fall_back(tiny, write_gguf_file):
    folder = tiny.write(hidden_size=48, intermediate_size=96)
    assert failed(verify(folder, write_gguf_file(folder, "q8_0"))) == set()


def test_wrong_permutation_fails(tiny, write_gguf_file, monkeypatch):
    monkeypatch.setattr(llama, "interleave_halves", lambda rows, _width: rows)
    folder = tiny.write()
    report = verify(folder, write_gguf_file(folder))
    assert failed(report) == {"weights"}
    with pytest.raises(GateFailed, match="attn_q") as caught:
        report.raise_failed()
    assert caught.value.exit_code == 4


def test_one_changed_weight_fails(tiny, write_gguf_file):
    folder = tiny.write()
    file = write_gguf_file(folder)
    from gguf import GGUFReader

    tensor = next(t for t in GGUFReader(file, "r+").tensors if t.name == "blk.1.ffn_down.weight")
    tensor.data[5, 7] += np.float32(0.01)
    tensor.data.flush() if hasattr(tensor.data, "flush") else None
    assert failed(verify(folder, file)) == {"weights"}


def test_wrong_terminator_fails(tiny, write_gguf_file):
    folder = tiny.write()
    file = write_gguf_file(folder)
    rewrite(file, **{"tokenizer.ggml.eos_token_id": 5})
    assert failed(verify(folder, file, terminators=(8,))) == {"end of turn"}


def test_wrong_template_fails(tiny, write_gguf_file):
    folder = tiny.write()
    file = write_gguf_file(folder)
    rewrite(file, **{"tokenizer.chat_template": "{{ messages[0].content }}"})
    assert failed(verify(folder, file)) == {"chat template"}


def test_wrong_pretokenizer_fails(tiny, write_gguf_file):
    folder = tiny.write()
    file = write_gguf_file(folder)
    rewrite(file, **{"tokenizer.ggml.pre": "qwen2"})
    assert failed(verify(folder, file)) == {"token ids"}


def test_swapped_tokens_and_merges_fail(tiny, write_gguf_file):
    from gguf import GGUFReader

    folder = tiny.write()
    file = write_gguf_file(folder)
    fields = GGUFReader(file).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = fields["tokenizer.ggml.merges"].contents()
    tokens[10], tokens[11] = tokens[11], tokens[10]
    merges[0], merges[-1] = merges[-1], merges[0]
    rewrite(file, **{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges})
    assert {"tokens", "merges", "token ids"} <= failed(verify(folder, file))


def test_trained_terminator_becomes_the_end(tiny, write_gguf_file):
    folder = tiny.write(tokenizer_config={"eos_token": "<|endoftext|>"}, eos_token_id=0)
    file = write_gguf_file(folder, terminators=(2,))
    from tuneforge.worker.gguf_model import read_metadata

    assert read_metadata(file)["tokenizer.ggml.eos_token_id"] == 2
    assert failed(verify(folder, file, (2,))) == set()
