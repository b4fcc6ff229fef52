"""Where in a rendered text each assistant turn stands, terminator included."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from tuneforge_specs.errors import DataError

from tuneforge_datastore.templates.conversation import Conversation
from tuneforge_datastore.templates.environment import Compiled, Span

_TRACKED = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True)
class Rendered:
    """A whole conversation as text; ``spans`` are character ranges, one per requested turn."""

    text: str
    spans: list[Span]


class ChatTemplate:
    """A template that knows where its assistant turns are.

    Spans come from ``{% generation %}`` blocks where the template has them. For others each turn is
    found between two prefixes of the conversation: rendered up to the turn with the assistant's
    header, and rendered through the turn. ``special`` are the tokens that can end a turn.
    """

    def __init__(self, source: str, variables: dict[str, str], special: Sequence[str], where: str):
        self.source = source
        self.where = where
        self.tracked = bool(_TRACKED.search(source))
        self._compiled = Compiled(source, variables, where)
        # The longest first: one special token may begin with another.
        names = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
        self._ending = re.compile(f"(?:{names})(?=\\s*$)" if names else "(?!)")

    def render(self, messages: list[Any], tools: list[Any] | None, *, prompt: bool = False) -> str:
        """Render messages as text. Raises ``DataError`` where the template refuses them."""
        return self._spans(messages, tools, prompt=prompt)[0]

    def _spans(
        self, messages: list[Any], tools: list[Any] | None, *, prompt: bool
    ) -> tuple[str, list[Span]]:
        try:
            return self._compiled.render(messages, tools, prompt=prompt)
        # A template is a program of others: whatever it raises is about the template and the row.
        except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError, LookupError) as e:
            roles = ", ".join(str(message["role"]) for message in messages) or "none"
            raise DataError(
                f"the chat template {self.where} refuses the conversation: {e} (turns: {roles})",
                "choose a template that has a form for these turns, or filter such records out",
            ) from e

    def prompt(self, talk: Conversation, before: int) -> str:
        """Render the turns before ``before`` and the header of the assistant's turn."""
        return self.render(talk.messages[:before], talk.tools, prompt=True)

    def locate(self, talk: Conversation, turns: Sequence[int]) -> Rendered:
        """Render the conversation and find the given assistant turns in it.

        Raises ``DataError`` if the template writes earlier turns differently once later ones
        follow (it drops thinking from the history, say): then no mask could be right.
        """
        text, spans = self._spans(talk.messages, talk.tools, prompt=False)
        if not self.tracked:
            return Rendered(text, [self._between_prefixes(talk, turn, text) for turn in turns])
        said = [i for i, message in enumerate(talk.messages) if message["role"] == "assistant"]
        if len(said) != len(spans):
            raise DataError(
                f"the chat template {self.where} has {len(spans)} generation blocks for "
                f"{len(said)} assistant turns",
                "put each assistant turn, and nothing else, in one {% generation %} block",
            )
        return Rendered(text, [spans[said.index(turn)] for turn in turns])

    def _between_prefixes(self, talk: Conversation, turn: int, text: str) -> Span:
        head = self.prompt(talk, turn)
        through = self.render(talk.messages[: turn + 1], talk.tools)
        if not (text.startswith(through) and through.startswith(head)):
            raise DataError(
                f"the chat template {self.where} writes turn {turn + 1} differently when other "
                "turns follow it, so the trained text could not be told from the rest",
                "set train_on = 'last', or use a template with {% generation %} blocks, "
                "for example chat = 'chatml' or 'qwen'",
            )
        ending = self._ending.search(through, len(head))
        return len(head), ending.end() if ending else len(through)
