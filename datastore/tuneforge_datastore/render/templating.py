"""Which chat template a spec means, fitted to a tokenizer."""

from dataclasses import dataclass
from pathlib import Path

from tuneforge_specs.errors import DataError

from tuneforge_datastore.render.vocabulary import Vocabulary
from tuneforge_datastore.templates.catalog import SHIPPED
from tuneforge_datastore.templates.spans import ChatTemplate

# What transformers is given to begin every conversation where the tokenizer begins texts with BOS.
_BOS = "{{- bos_token }}"


@dataclass(frozen=True)
class Fitted:
    """A template that the tokenizer has all tokens for.

    ``terminator`` is the id that ends an assistant turn; ``None`` for a template of others, which
    ends turns with whatever special token it writes.
    """

    template: ChatTemplate
    terminator: int | None
    control: frozenset[str]


def fit(chat: str, vocabulary: Vocabulary, directory: Path) -> Fitted:
    """Find the template ``chat`` and check its control tokens against the tokenizer.

    ``chat`` is a shipped name, ``tokenizer``, or the path of a ``.jinja`` file, relative to
    ``directory``. A shipped template writes BOS first if, and only if, the tokenizer wants it.
    """
    if chat in SHIPPED:
        return _shipped(chat, vocabulary)
    if chat == "tokenizer":
        source, where = vocabulary.own_template(), f"of {vocabulary.folder}"
        if source is None:
            raise DataError(
                f"the tokenizer in {vocabulary.folder} has no chat template of its own",
                f"name one: template.chat = one of {', '.join(SHIPPED)}, or a .jinja file",
            )
    elif chat.endswith((".jinja", ".jinja2", ".j2")):
        file = directory / chat
        where = str(file)
        try:
            source = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{file}: the chat template cannot be read: {error}",
                "correct template.chat; its path is relative to the spec",
            ) from error
    else:
        raise DataError(
            f"there is no chat template {chat!r}",
            f"use one of {', '.join(SHIPPED)}, 'tokenizer', or the path of a .jinja file",
        )
    template = ChatTemplate(source, vocabulary.variables, list(vocabulary.special), where)
    return Fitted(template, None, frozenset(vocabulary.special))


def _shipped(name: str, vocabulary: Vocabulary) -> Fitted:
    shipped = SHIPPED[name]
    missing = [token for token in shipped.control if token not in vocabulary.special]
    if missing:
        raise DataError(
            f"the chat template {name!r} needs {', '.join(missing)} as special tokens, and the "
            f"tokenizer in {vocabulary.folder} has them not",
            "use the template the model was made for, chat = 'tokenizer', or one that needs only "
            "an end-of-sequence token: 'alpaca', 'vicuna', 'zephyr', 'plain'",
        )
    ending = shipped.terminator or vocabulary.variables.get("eos_token", "")
    terminator = vocabulary.special.get(ending)
    if terminator is None:
        raise DataError(
            f"the chat template {name!r} ends turns with the end-of-sequence token, and the "
            f"tokenizer in {vocabulary.folder} has no special token of that name ({ending!r})",
            "set eos_token in tokenizer_config.json to a special token of tokenizer.json",
        )
    source = (_BOS if vocabulary.wants_bos else "") + shipped.source()
    template = ChatTemplate(source, vocabulary.variables, list(vocabulary.special), f"{name!r}")
    return Fitted(template, terminator, frozenset(vocabulary.special))
