"""The metadata of a GGUF file: a golden dump for Llama, and what each config key becomes."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuneforge_specs.errors import DataError, UsageError

from tuneforge.export.gguf.architectures import ARCHITECTURES, architecture_of
from tuneforge.export.gguf.check import check
from tuneforge.worker.gguf_model import read_metadata

GOLDEN = Path(__file__).parent / "golden" / "llama-metadata.json"


def dump(path: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    reader = GGUFReader(path)
    fields = {key: _short(field.contents()) for key, field in reader.fields.items()}
    tensors = {
        tensor.name: [tensor.tensor_type.name, [int(n) for n in tensor.shape]]
        for tensor in reader.tensors
    }
    return {"fields": fields, "tensors": tensors}


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return {"length": len(value), "first": value[:8], "last": value[-4:]}
    return round(value, 9) if isinstance(value, float) else value


def test_llama_metadata_is_as_recorded(tiny, write_gguf_file):
    folder = tiny.write(
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    )
    found = dump(write_gguf_file(folder, "q8_0"))
    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        pytest.fail(f"{GOLDEN} was missing and is written: look at it")
    assert found == json.loads(GOLDEN.read_text("utf-8"))


def test_same_input_gives_the_same_bytes(tiny, write_gguf_file):
    folder = tiny.write()
    first = write_gguf_file(folder).read_bytes()
    assert write_gguf_file(folder).read_bytes() == first


def test_row_blocks_do_not_change_the_file(tiny, write_gguf_file, monkeypatch):
    folder = tiny.write()
    whole = write_gguf_file(folder, "q8_0").read_bytes()
    monkeypatch.setattr("tuneforge.export.gguf.writer.BLOCK_BYTES", 4096)
    assert write_gguf_file(folder, "q8_0").read_bytes() == whole


def test_registry_names_load():
    for name in ARCHITECTURES:
        assert architecture_of({"architectures": [name]}).metadata


def test_unknown_architecture_is_refused_by_name():
    with pytest.raises(UsageError, match="MixtralForCausalLM"):
        check({"architectures": ["MixtralForCausalLM"]})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised already"),
    ],
)
def test_what_llama_cpp_cannot_compute_is_refused(changes, named):
    with pytest.raises(UsageError, match=named):
        check({"architectures": ["LlamaForCausalLM"], "num_attention_heads": 1} | changes)


def test_gemma_windows_in_another_order_are_refused():
    config = {
        "architectures": ["Gemma3ForCausalLM"],
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "hidden_size": 64,
        "head_dim": 32,
        "layer_types": ["full_attention", "sliding_attention"],
    }
    with pytest.raises(UsageError, match=r"layer_types\[0\]"):
        check(config)
    with pytest.raises(UsageError, match="query_pre_attn_scalar"):
        check(config | {"query_pre_attn_scalar": 7})


def test_sliding_window_is_noted():
    config = {"architectures": ["MistralForCausalLM"], "sliding_window": 4096}
    assert "4096" in check(config)[0]


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        ({"rope_type": "linear", "factor": 4.0}, {"llama.rope.scaling.type": "linear"}),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 64,
            },
        ),
    ],
)
def test_rope_scaling_is_declared(tiny, write_gguf_file, rope, expected):
    metadata = read_metadata(
        write_gguf_file(tiny.write(rope_parameters=rope | {"rope_theta": 1e6}))
    )
    assert expected.items() <= metadata.items()
    assert metadata["llama.rope.freq_base"] == 1e6


def test_tied_head_is_left_out(tiny, write_gguf_file):
    from gguf import GGUFReader

    path = write_gguf_file(tiny.write(tie_word_embeddings=True))
    assert "output.weight" not in {tensor.name for tensor in GGUFReader(path).tensors}


def test_missing_head_is_refused(tiny, write_gguf_file):
    folder = tiny.write(tie_word_embeddings=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(UsageError, match=r"lm_head\.weight"):
        write_gguf_file(folder)


def test_foreign_tensor_is_refused(tiny, write_gguf_file):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder = tiny.write()
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"value_head.weight": np.zeros((2, 2), np.float32)}, file)
    with pytest.raises(UsageError, match="value_head"):
        write_gguf_file(folder)


@pytest.mark.parametrize(("value", "kind"), [(float("nan"), "f32"), (1e6, "f16")])
def test_weights_the_type_cannot_hold_are_refused(tiny, write_gguf_file, value, kind):
    from safetensors.numpy import load_file, save_file

    folder = tiny.write()
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(tensors, file)
    with pytest.raises(DataError, match="up_proj"):
        write_gguf_file(folder, kind)
