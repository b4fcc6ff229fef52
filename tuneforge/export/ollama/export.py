"""Export for Ollama: one GGUF file, and a Modelfile with template, stop tokens and parameters."""

from tuneforge_specs.errors import UsageError
from tuneforge_specs.export import OllamaExport

from tuneforge.export.gguf.special import special_tokens
from tuneforge.export.gguf_files import verify_files, write_files
from tuneforge.export.job import Job
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.ollama.template import Derived, Message, Render, conversations, derive
from tuneforge.export.verify.modelfile import Wanted, check_modelfile
from tuneforge.export.verify.report import Report
from tuneforge.weights import open_weights

# What a generation config calls Ollama's parameters.
SAMPLING = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
}


def export(job: Job, settings: OllamaExport) -> Report:
    """Write and verify the GGUF file and the Modelfile."""
    render = rendering(job.model, job.trained.terminators)
    template = template_of(job.model, render)
    with open_weights(job.model.path) as weights:
        files, notes = write_files(job, (settings.type,), weights)
        report = verify_files(job, files, weights, notes)
    (path,) = files.values()
    text = modelfile(job, path.name, template, settings)
    (job.out / "Modelfile").write_text(text, "utf-8")
    talks = conversations(with_system=template.system is not None)
    wanted = Wanted([(talk, render(talk, True)) for talk in talks], _stops(job), settings.system)
    check_modelfile(job.out / "Modelfile", wanted, report)
    return report


def rendering(model: ModelFolder, terminators: tuple[int, ...]) -> Render:
    """Return what renders a conversation with the model's own template, without the BOS."""
    if not model.chat_template:
        raise UsageError(
            f"{model.path} has no chat template, so Ollama could not prompt it",
            'export format = "gguf" for use without a chat, or train with a chat template',
        )
    from tuneforge_datastore.templates.environment import Compiled

    names = {
        f"{role}_token": _text(model, model.special(f"{role}_token"))
        for role in ("bos", "eos", "unk", "pad")
    }
    compiled = Compiled(model.chat_template, names, str(model.path))
    special = special_tokens(model, terminators)
    bos = names["bos_token"] if special.add_bos else ""

    def render(messages: list[Message], prompt: bool) -> str:
        text, _ = compiled.render(messages, prompt=prompt)
        # Ollama puts BOS before the prompt where the file says so; twice would be wrong.
        return text.removeprefix(bos)

    return render


def template_of(model: ModelFolder, render: Render) -> Derived:
    """Return the Go template of a model, or refuse one that cannot be expressed."""
    found = derive(render)
    if isinstance(found, str):
        raise UsageError(
            f"the chat template of {model.path} cannot be written as a Go template: {found}",
            'export format = "gguf": llama.cpp runs the Jinja template that the file holds',
        )
    return found


def _text(model: ModelFolder, index: int | None) -> str:
    texts = {i: token for token, i in model.token_ids.items()}
    return texts.get(index, "") if index is not None else ""


def modelfile(job: Job, file: str, template: Derived, settings: OllamaExport) -> str:
    """Return the Modelfile."""
    lines = [f"FROM ./{file}", f"TEMPLATE {_quoted(template.go())}"]
    if settings.system and template.system is None:
        raise UsageError(
            f"export.system is set, but the chat template of {job.model.path} takes no system text",
            "remove it, or train with a template that has a system turn",
        )
    if settings.system:
        lines.append(f"SYSTEM {_quoted(settings.system)}")
    lines += [f"PARAMETER stop {_quoted(stop)}" for stop in _stops(job)]
    generation = job.model.generation
    values = {name: generation.get(known) for name, known in SAMPLING.items()}
    values |= {str(name): value for name, value in settings.parameters.items()}
    known = {name: float(value) for name, value in values.items() if value is not None}
    lines += [f"PARAMETER {name} {_number(value)}" for name, value in sorted(known.items())]
    return "\n".join(lines) + "\n"


def _stops(job: Job) -> list[str]:
    texts = (_text(job.model, index) for index in job.terminators)
    return [text for text in texts if text]


def _number(value: float) -> str:
    """Write a number in full: Ollama reads an exponent as no integer."""
    return str(int(value)) if value.is_integer() else repr(value)


def _quoted(text: str) -> str:
    """Quote a text for a Modelfile, which has no escapes."""
    unprintable = {c for c in text if not c.isprintable() and c not in "\t\r\n"}
    lost = sorted(f"U+{ord(character):04X}" for character in unprintable)
    if '"""' in text or lost:
        what = ", ".join(lost) or '"""'
        raise UsageError(
            f"a template, system text or stop token holds {what}, which a Modelfile cannot express",
            'export format = "gguf" instead, or remove it',
        )
    quotes = '"""' if '"' in text or "\n" in text or "\r" in text else '"'
    return f"{quotes}{text}{quotes}"
