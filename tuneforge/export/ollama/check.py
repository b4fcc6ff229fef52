"""Whether a model's chat template can become a Modelfile's, known before anything is trained."""

from collections.abc import Iterator
from pathlib import Path

from tuneforge_datastore.templates.environment import Compiled
from tuneforge_specs.errors import UsageError
from tuneforge_specs.merge import MergedInput, TrainInput
from tuneforge_specs.spec import Spec

from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.ollama.template import Message, derive

JINJA = (".jinja", ".jinja2", ".j2")
OWN = "tokenizer"


def check_templates(spec: Spec, model: str, directory: Path, base: Path | None) -> None:
    """Refuse an Ollama export of ``model`` whose training uses a template that Go cannot express.

    Shipped templates all can. ``base`` is looked at for the tokenizer's own template, where known.
    """
    for chat in dict.fromkeys(_chats(spec, model)):
        if chat.endswith(JINJA) and (directory / chat).is_file():
            _check((directory / chat).read_text("utf-8"), chat, base)
        elif chat == OWN and base is not None:
            own = ModelFolder(base).chat_template
            if own:
                _check(own, f"the chat template of {base}", base)


def _chats(spec: Spec, name: str) -> Iterator[str]:
    """Yield `template.chat` of every dataset that the steps behind a model train on."""
    if name in spec.train:
        step = spec.train[name]
        yield spec.datasets[step.dataset].template.chat
        if step.start:
            yield from _chats(spec, step.start)
    elif name in spec.merge:
        for entry in spec.merge[name].inputs:
            if isinstance(entry, TrainInput):
                yield from _chats(spec, entry.train)
            elif isinstance(entry, MergedInput):
                yield from _chats(spec, entry.merge)


def _check(source: str, where: str, base: Path | None) -> None:
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    if base is not None and (base / "tokenizer.json").is_file():
        folder = ModelFolder(base)
        texts = {index: token for token, index in folder.token_ids.items()}
        ids = {name: folder.special(name) for name in names}
        names = {name: "" if index is None else texts[index] for name, index in ids.items()}
    compiled = Compiled(source, names, where)

    def render(messages: list[Message], prompt: bool) -> str:
        text, _ = compiled.render(messages, prompt=prompt)
        return text.removeprefix(names["bos_token"])

    found = derive(render)
    if isinstance(found, str):
        raise UsageError(
            f"{where} cannot be written as a Go template, which Ollama needs: {found}",
            'export format = "gguf": llama.cpp runs the Jinja template that the file holds',
        )
