"""The Modelfile: its Go template, run by an interpreter of our own, equals the Jinja one."""

import pytest
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_datastore.templates.environment import Compiled
from tuneforge_specs.errors import SpecError, UsageError
from tuneforge_specs.export import OllamaExport
from tuneforge_specs.loader import load

from tuneforge.export.job import Job, Trained
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.ollama.export import export, modelfile, rendering
from tuneforge.export.ollama.template import Derived, derive
from tuneforge.export.verify import go_template as go
from tuneforge.export.verify.modelfile import read_modelfile

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TALKS = [
    [("user", "Hello {{ .Content }}")],
    [("user", "a"), ("assistant", "b")],
    [("user", "a"), ("assistant", "b\nc"), ("user", "d"), ("assistant", "e"), ("user", "f")],
]
TOLD = [[("system", "Be kind."), *talk] for talk in TALKS]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_template_becomes_go(name):
    compiled = Compiled(SHIPPED[name].source(), TOKENS, name)

    def render(messages, prompt):
        return compiled.render(messages, prompt=prompt)[0]

    found = derive(render)
    assert isinstance(found, Derived), found
    talks = TALKS if found.system is None else TALKS + TOLD
    for talk in talks:
        messages = [{"role": role, "content": content} for role, content in talk]
        assert go.render(found.go(), messages) == render(messages, True)


def test_templates_that_are_no_chain_are_refused():
    def numbered(messages, prompt):
        return "".join(f"{n}:{m['content']};" for n, m in enumerate(messages)) + ("A" * prompt)

    assert "no chain of turns" in derive(numbered)

    def counted(messages, prompt):
        text = "".join(f"<{m['role']}>{m['content']}" for m in messages)
        return text + "!" * (len(messages) > 3) + ("<assistant>" * prompt)

    assert "no chain of turns" in derive(counted)


def test_a_model_without_a_template_is_refused(tiny):
    with pytest.raises(UsageError, match="no chat template"):
        rendering(ModelFolder(tiny.write(template="")), ())


@pytest.fixture
def job(tiny, tmp_path, reporter, monkeypatch):
    monkeypatch.setattr("tuneforge.export.gguf_files.READER_PACKAGES", ("no_such_package",))
    folder = tiny.write()
    (folder / "generation_config.json").write_text(
        '{"eos_token_id": 2, "temperature": 0.6, "repetition_penalty": 1.05}'
    )
    out = tmp_path / "out"
    out.mkdir()
    return Job("triage", ModelFolder(folder), out, Trained((2,)), reporter, lambda _job: out)


def test_modelfile(job):
    settings = OllamaExport(
        format="ollama",
        model="m",
        type="f16",
        system="Answer in JSON.",
        parameters={"num_ctx": 1048576, "top_p": 0.9},
    )
    report = export(job, settings)
    assert not report.failed
    text = (job.out / "Modelfile").read_text("utf-8")
    assert text.startswith('FROM ./triage-f16.gguf\nTEMPLATE """{{ range')
    assert text.endswith(
        'SYSTEM "Answer in JSON."\nPARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 1048576\n'
        "PARAMETER repeat_penalty 1.05\nPARAMETER temperature 0.6\nPARAMETER top_p 0.9\n"
    )
    assert (job.out / "triage-f16.gguf").is_file()


def test_system_without_a_system_turn_is_refused(job):
    (job.model.path / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    with pytest.raises(UsageError, match="takes no system text"):
        export(job, OllamaExport(format="ollama", model="m", system="x"))


@pytest.mark.parametrize(
    "text", ['say "so"', "two\nlines", 'ends with "', "\\", " ｜x｜ ", "tab\t"]
)
def test_what_is_written_is_what_ollama_reads(job, text):
    template = Derived(text, text, "", text, "", "<a>", system="<s>", told=text)
    settings = OllamaExport(format="ollama", model="m", system=text)
    found = read_modelfile(modelfile(job, "x.gguf", template, settings))
    assert found.system == text
    assert found.template == template.go()
    assert found.parameters["stop"] == ["<|im_end|>"]
    assert found.origin == "./x.gguf"


@pytest.mark.parametrize(("text", "named"), [('a"""b', '"""'), ("zero\u200dwidth", "U\\+200D")])
def test_what_a_modelfile_cannot_express_is_refused(job, text, named):
    template = Derived("", "", "", "", "", "", system="")
    with pytest.raises(UsageError, match=named):
        modelfile(job, "x", template, OllamaExport(format="ollama", model="m", system=text))


@pytest.mark.parametrize("text", ["TEMPLATE x", "FROM x\nSTOP y", 'FROM x\nSYSTEM """y'])
def test_what_ollama_refuses_is_refused(text):
    with pytest.raises(ValueError, match=r"no FROM|no command|not closed"):
        read_modelfile(text)


@pytest.mark.parametrize(
    "template",
    ["{{ .Prompt }}", "{{ if eq .Role", "{{ end }}", "{{ range .X }}a", "{{- .Messages }}"],
)
def test_a_go_template_that_is_not_understood_is_no_guess(template):
    with pytest.raises((go.GoTemplateError, LookupError)):
        go.render(template, [{"role": "user", "content": "a"}])


def test_numbers_that_must_be_whole_are_checked_with_the_spec(tmp_path):
    (tmp_path / "spec.toml").write_text(
        'spec = 1\n[build]\nname = "x"\n[base]\nmodel = "b"\n[merge.m]\nmethod = "linear"\n'
        'inputs = [{ model = "b" }]\n[export.o]\nmodel = "m"\nformat = "ollama"\n'
        "parameters = { num_ctx = 10.5, top_p = 0.5 }\n"
    )
    with pytest.raises(SpecError, match=r"toml:9: .*parameters\.num_ctx must be a whole number"):
        load(tmp_path / "spec.toml")
