"""A plan refuses, by name, what an export could not do; before anything runs."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tuneforge_specs.errors import EnvironmentMissing, UsageError
from tuneforge_specs.loader import load

from tuneforge.export import plan_check
from tuneforge.plan.builder import make_plan
from tuneforge.workspace import Workspace

COMMIT = "0123456789abcdef0123456789abcdef01234567"

SPEC = """
spec = 1
[build]
name = "x"
[base]
model = "base"
[sources.s]
path = "s.jsonl"
[datasets.d]
from = [{ source = "s" }]
[train.t]
method = "sft"
dataset = "d"
adapter = { kind = "full" }
[export.out]
model = "t"
EXPORT
"""


def loaded(tmp_path: Path, export: str, config: dict, tokenizer: dict | None = None):
    base = tmp_path / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text(json.dumps(config))
    (base / "model.safetensors").write_bytes(b"")
    if tokenizer is not None:
        (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "s.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "spec.toml").write_text(SPEC.replace("EXPORT", export))
    return load(tmp_path / "spec.toml")


def plan(tmp_path: Path, export: str, config: dict, tokenizer: dict | None = None):
    found = loaded(tmp_path, export, config, tokenizer)
    return make_plan(found, Workspace.of(found.path))


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
MAMBA = {"architectures": ["MambaForCausalLM"], "model_type": "mamba"}


@pytest.mark.parametrize("form", ["gguf", "ollama"])
def test_unsupported_architecture_is_refused(tmp_path, form):
    with pytest.raises(UsageError, match=r"export\.out: .*MambaForCausalLM"):
        plan(tmp_path, f'format = "{form}"', MAMBA)


def test_so_is_an_adapter_that_shall_be_gguf(tmp_path, monkeypatch):
    export = 'format = "adapter"\ngguf = true'
    monkeypatch.setitem(globals(), "SPEC", SPEC.replace('"full"', '"lora"'))
    with pytest.raises(UsageError, match=r"export\.out: .*MambaForCausalLM"):
        plan(tmp_path, export, MAMBA)


def test_safetensors_takes_any_architecture(tmp_path):
    plan(tmp_path, 'format = "safetensors"', MAMBA)


def test_a_tokenizer_that_llama_cpp_cannot_follow_is_refused(tmp_path, byte_level):
    unigram = {"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}
    with pytest.raises(UsageError, match=r"export\.out: .* Unigram tokenizers"):
        plan(tmp_path, 'format = "gguf"', LLAMA, unigram)
    split = {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": False}
    (tmp_path / "base" / "tokenizer.json").write_text(
        json.dumps(byte_level | {"pre_tokenizer": split})
    )
    found = load(tmp_path / "spec.toml")
    with pytest.raises(UsageError, match=r"export\.out: .*no known pre-tokenizer"):
        make_plan(found, Workspace.of(found.path))
    (tmp_path / "base" / "tokenizer.json").write_text(json.dumps(byte_level))
    make_plan(found, Workspace.of(found.path))


def test_k_quants_without_llama_cpp_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(EnvironmentMissing, match=r"q4_k_m needs llama\.cpp") as caught:
        plan(tmp_path, 'format = "gguf"\ntypes = ["q4_k_m"]', LLAMA)
    assert caught.value.exit_code == 6
    assert "tuneforge[llamacpp]" in caught.value.fix


def test_quantising_without_its_packages_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_check, "QUANTIZING", ("no_such_package",))
    with pytest.raises(EnvironmentMissing, match=r"export\.out: no_such_package"):
        plan(tmp_path, 'format = "bitsandbytes"', LLAMA)


def test_a_cached_export_needs_nothing(tmp_path):
    found = loaded(tmp_path, 'format = "gguf"', MAMBA)
    plan_check.check_exports(found.spec, tmp_path, tmp_path / "base", [])


NUMBERED = (
    "{% for m in messages %}{{ loop.index }}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CHAIN = NUMBERED.replace("{{ loop.index }}", "{{ bos_token if loop.first }}")


@pytest.mark.parametrize("where", ["file", "tokenizer"])
def test_a_template_that_ollama_cannot_run_is_refused(tmp_path, monkeypatch, byte_level, where):
    chat = "my.jinja" if where == "file" else "tokenizer"
    template = f'from = [{{ source = "s" }}]\ntemplate = {{ chat = "{chat}" }}'
    monkeypatch.setitem(globals(), "SPEC", SPEC.replace('from = [{ source = "s" }]', template))
    file = tmp_path / ("my.jinja" if where == "file" else "base/chat_template.jinja")
    file.parent.mkdir(exist_ok=True)
    file.write_text(CHAIN)
    plan(tmp_path, 'format = "ollama"', LLAMA, byte_level)
    file.write_text(NUMBERED)
    found = load(tmp_path / "spec.toml")
    with pytest.raises(UsageError, match=r"export\.out: .*no chain of turns"):
        make_plan(found, Workspace.of(found.path))


def hub_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A base from the hub at a commit; the cache that `hf` keeps is in a folder of the test."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    found = loaded(tmp_path, 'format = "gguf"', {})
    text = found.path.read_text().replace(
        'model = "base"', f'model = "acme/mamba"\nrevision = "{COMMIT}"'
    )
    found.path.write_text(text)
    return load(found.path)


def test_a_base_in_the_cache_of_the_hub_is_looked_at(tmp_path, monkeypatch):
    found = hub_spec(tmp_path, monkeypatch)
    folder = tmp_path / "cache" / "models--acme--mamba" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(MAMBA))
    with pytest.raises(UsageError, match=r"export\.out: .*MambaForCausalLM"):
        make_plan(found, Workspace.of(found.path))


class Hub(BaseHTTPRequestHandler):
    """A hub with one model, of which it gives the config."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self, body: bytes = b"") -> None:
        if self.path.startswith("/api/"):
            body = json.dumps({"id": "acme/mamba", "sha": COMMIT}).encode()
        elif self.path == f"/acme/mamba/resolve/{COMMIT}/config.json":
            body = json.dumps(MAMBA).encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def test_of_a_base_on_the_hub_the_small_files_are_fetched(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        found = hub_spec(tmp_path, patch)
    done = subprocess.run(
        [sys.executable, "-m", "tuneforge", "plan", str(found.path)],
        env={
            "PATH": "/usr/bin:/bin",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 2, done.stderr
    assert "export.out: GGUF export does not support the architecture MambaForCausalLM" in (
        done.stderr
    )


def test_importing_the_step_loads_nothing_heavy():
    code = (
        "import sys, tuneforge.steps.export, tuneforge.export.plan_check;"
        "print([m for m in ('gguf', 'torch', 'numpy', 'tokenizers', 'pyarrow', 'jinja2')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
