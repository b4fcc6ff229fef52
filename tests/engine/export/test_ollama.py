"""The Modelfile: its Go template, run by an interpreter of our own, equals the Jinja one."""

import json
import re

import pytest
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_datastore.templates.environment import Compiled
from tuneforge_specs.errors import UsageError
from tuneforge_specs.export import OllamaExport

from tuneforge.export.job import Job, Trained
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.ollama.export import export, template_of
from tuneforge.export.ollama.template import Derived, derive

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TALKS = [
    [("user", "Hello {{ .Content }}")],
    [("user", "a"), ("assistant", "b")],
    [("user", "a"), ("assistant", "b\nc"), ("user", "d"), ("assistant", "e"), ("user", "f")],
]
TOLD = [[("system", "Be kind."), *talk] for talk in TALKS]


def go(template: str, messages: list[dict[str, str]]) -> str:
    """Run the part of Go's text/template that our Modelfiles use."""
    pieces = re.split(r"\{\{ (.*?) \}\}", template)
    tokens = [(n % 2 == 1, piece) for n, piece in enumerate(pieces)]

    def value(word: str, scope: dict) -> object:
        if word.startswith('"'):
            return json.loads(word)
        if word.startswith(".") and word != ".Messages":
            return scope["dot"][word[1:].lower()]
        return scope["i"] if word == "$i" else int(word)

    def true(text: str, scope: dict) -> bool:
        if text.startswith("and "):
            return true("eq $i 1", scope) and messages[0]["role"] == "system"
        name, left, right = re.fullmatch(r"(eq) (\S+) (.+)", text).groups()
        assert name == "eq"
        return value(left, scope) == value(right, scope)

    def block(at: int, scope: dict, live: bool) -> tuple[str, int]:
        """Run to the matching end or else; return the text and where it stopped."""
        out = ""
        while at < len(tokens):
            action, text = tokens[at]
            if not action:
                out, at = out + (text if live else ""), at + 1
            elif text == "end" or text.startswith("else"):
                return out, at
            elif text.startswith("range "):
                assert text == "range $i, $_ := .Messages"
                for i, message in enumerate(messages):
                    part, stop = block(at + 1, {"dot": message, "i": i}, live)
                    out += part
                at = stop + 1
            elif text.startswith("if "):
                taken, done = text[3:], False
                while True:
                    now = live and not done and (taken == "" or true(taken, scope))
                    done = done or now
                    part, at = block(at + 1, scope, now)
                    out += part if now else ""
                    closing = tokens[at][1]
                    if closing == "end":
                        break
                    taken = closing.removeprefix("else").removeprefix(" if ")
                at += 1
            else:
                out, at = out + (str(value(text, scope)) if live else ""), at + 1
        return out, at

    return block(0, {}, True)[0]


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
        assert go(found.go(), messages) == render(messages, True)


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
        template_of(ModelFolder(tiny.write(template="")), ())


@pytest.fixture
def job(tiny, tmp_path, reporter, monkeypatch):
    monkeypatch.setattr("tuneforge.export.gguf_files.READER_PACKAGES", ("no_such_package",))
    folder = tiny.write()
    (folder / "generation_config.json").write_text('{"eos_token_id": 2, "temperature": 0.6}')
    out = tmp_path / "out"
    out.mkdir()
    return Job("triage", ModelFolder(folder), out, Trained((2,)), reporter, lambda _job: out)


def test_modelfile(job):
    settings = OllamaExport(
        format="ollama",
        model="m",
        type="f16",
        system="Answer in JSON.",
        parameters={"num_ctx": 2048.0, "top_p": 0.9},
    )
    report = export(job, settings)
    assert not report.failed
    text = (job.out / "Modelfile").read_text("utf-8")
    assert text.startswith('FROM ./triage-f16.gguf\nTEMPLATE """{{ range')
    assert text.endswith(
        'SYSTEM """Answer in JSON."""\nPARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 2048\n'
        "PARAMETER temperature 0.6\nPARAMETER top_p 0.9\n"
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
