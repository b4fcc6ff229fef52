"""NF4 weights on CPUs are what their codes say, at every width."""

import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.train

WIDTHS = (16, 32, 40, 48, 64, 80, 96, 100, 112, 128, 160, 192, 224, 320)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("width", WIDTHS)
def test_forward_and_backward_use_the_weights_that_the_codes_mean(width: int, dtype: str) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    from tuneforge.weights import nf4
    from tuneforge.worker.model import keep_gradients
    from tuneforge.worker.nf4_on_cpu import read_rightly

    compute = getattr(torch, dtype)
    torch.manual_seed(width)
    plain = torch.nn.Linear(width, 24, bias=False, dtype=compute)
    layer = Linear4bit(width, 24, bias=False, compute_dtype=compute, quant_type="nf4")
    layer.load_state_dict(plain.state_dict())
    layer.to("cpu")
    model = torch.nn.Sequential(layer)
    keep_gradients(model)
    read_rightly(model)
    values = plain.weight.detach().float().numpy()
    expected = torch.from_numpy(np.ascontiguousarray(nf4.roundtrip(values).reshape(24, width)))
    expected = expected.to(compute).float()
    rows = torch.eye(width, dtype=compute, requires_grad=True)
    seen = model(rows)
    assert torch.equal(seen.float().T, expected)
    (gradient,) = torch.autograd.grad(seen.sum(), rows)
    told = expected.sum(0)
    assert torch.allclose(gradient[0].float(), told, rtol=0.02, atol=0.02 * told.abs().max())
    with torch.no_grad():
        assert torch.equal(model.eval()(rows).float().T, expected)


def test_a_base_of_hidden_size_32_is_read_as_merging_reads_it(base) -> None:
    """In a process of its own, where no other test has replaced the kernel."""
    code = f"""
import numpy, pathlib, torch
from bitsandbytes.functional import dequantize_4bit
from safetensors.torch import load_file
from tuneforge.weights.nf4 import roundtrip
from tuneforge.worker.model import load_base
folder = pathlib.Path({str(base)!r})
stored = load_file(next(folder.glob("*.safetensors")))
model = load_base(folder, dtype="float32", quantize="nf4", device="cpu")
layer = model.model.layers[0].mlp.up_proj
read = dequantize_4bit(layer.weight.data, layer.weight.quant_state).numpy()
values = stored["model.layers.0.mlp.up_proj.weight"].float().numpy()
assert read.shape[1] == 32, read.shape
assert numpy.array_equal(read.ravel(), roundtrip(values).ravel())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_old_torch_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit
    from torch import library
    from tuneforge_specs.errors import EnvironmentMissing

    from tuneforge.worker import nf4_on_cpu

    def model(width: int) -> torch.nn.Module:
        return torch.nn.Sequential(Linear4bit(width, 4, quant_type="nf4"))

    monkeypatch.delattr(library, "get_kernel")
    monkeypatch.setattr(nf4_on_cpu, "_KEPT", [])
    nf4_on_cpu.read_rightly(model(128))
    with pytest.raises(EnvironmentMissing, match="weights of 96 columns"):
        nf4_on_cpu.read_rightly(model(96))
