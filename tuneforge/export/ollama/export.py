"""Export for Ollama: one GGUF file, and a Modelfile with template, stop tokens and parameters."""

import json

from tuneforge_specs.errors import UsageError
from tuneforge_specs.export import OllamaExport

from tuneforge.export.gguf.special import special_tokens
from tuneforge.export.gguf_files import verify_files, write_files
from tuneforge.export.job import Job
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.ollama.template import Derived, Message, derive
from tuneforge.export.verify.report import Report
from tuneforge.weights import open_weights

SAMPLING = ("temperature", "top_k", "top_p", "min_p")  # what a generation config also has


def export(job: Job, settings: OllamaExport) -> Report:
    """Write and verify the GGUF file and the Modelfile."""
    template = template_of(job.model, job.trained.terminators)
    with open_weights(job.model.path) as weights:
        files, notes = write_files(job, (settings.type,), weights)
        report = verify_files(job, files, weights, notes)
    (path,) = files.values()
    text = modelfile(job, path.name, template, settings)
    (job.out / "Modelfile").write_text(text, "utf-8")
    detail = "renders as the model's own on every shape of conversation"
    report.add("template", "Modelfile", "Jinja", True, detail)
    return report


def template_of(model: ModelFolder, terminators: tuple[int, ...]) -> Derived:
    """Return the Go template of a model, or refuse one that cannot be expressed."""
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

    found = derive(render)
    if isinstance(found, str):
        raise UsageError(
            f"the chat template cannot be written as a Go template: {found}",
            'export format = "gguf": llama.cpp runs the Jinja template that the file holds',
        )
    return found


def _text(model: ModelFolder, index: int | None) -> str:
    texts = {i: token for token, i in model.token_ids.items()}
    return texts.get(index, "") if index is not None else ""


def modelfile(job: Job, file: str, template: Derived, settings: OllamaExport) -> str:
    """Return the Modelfile."""
    stops = [_text(job.model, index) for index in job.terminators]
    lines = [f"FROM ./{file}", f"TEMPLATE {_quoted(template.go())}"]
    if settings.system and template.system is None:
        raise UsageError(
            f"export.system is set, but the chat template of {job.model.path} takes no system text",
            "remove it, or train with a template that has a system turn",
        )
    if settings.system:
        lines.append(f"SYSTEM {_quoted(settings.system)}")
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops if stop]
    declared = {name: job.model.generation.get(name) for name in SAMPLING}
    values = {name: value for name, value in declared.items() if value is not None}
    values |= {str(name): value for name, value in settings.parameters.items()}
    lines += [f"PARAMETER {name} {value:g}" for name, value in sorted(values.items())]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if '"""' in text:
        raise UsageError(
            'the chat template holds """, which a Modelfile cannot express',
            'export format = "gguf" instead',
        )
    return f'"""{text}"""'
