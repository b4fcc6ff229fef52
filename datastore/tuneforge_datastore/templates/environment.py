"""The Jinja environment of chat templates: sandboxed, immutable, equal to transformers' own.

Templates are data of others. The sandbox keeps them from attributes, files and imports; their
output is compared with transformers' in the tests, for every shipped template.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tuneforge_specs.errors import DataError

Span = tuple[int, int]


class Generation(Extension):
    """The ``{% generation %}`` block: what it encloses is what the assistant says.

    Positions are counted in the output so far, as transformers counts them.
    """

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        environment.extend(generation=self)
        self._pieces: list[str] | None = None
        self._spans: list[Span] = []

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn the block into a call, so that its output is seen."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_track"), [], [], body).set_lineno(line)

    def _track(self, caller: Callable[[], str]) -> str:
        said = caller()
        if self._pieces is not None:
            start = sum(map(len, self._pieces))
            self._spans.append((start, start + len(said)))
        return said

    @contextmanager
    def tracking(self) -> Iterator[tuple[list[str], list[Span]]]:
        """Collect output pieces and spans while a template is rendered."""
        self._pieces, self._spans = [], []
        try:
            yield self._pieces, self._spans
        finally:
            self._pieces = None


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _strftime_now(form: str) -> str:
    # Local time without a zone is what templates mean by today.
    return datetime.now().strftime(form)  # noqa: DTZ005


class Compiled:
    """A compiled template and the special tokens that it may name, such as ``eos_token``."""

    def __init__(self, source: str, special: Mapping[str, str], where: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self.where = where
        self._special = dict(special)
        self._generation: Generation = environment.generation  # type: ignore[attr-defined]
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise DataError(
                f"{where}:{error.lineno}: the chat template is not valid Jinja: {error.message}",
                "correct the template, or choose a shipped one, for example chat = 'chatml'",
            ) from error

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[Any] | None = None,
        *,
        prompt: bool = False,
    ) -> tuple[str, list[Span]]:
        """Render a conversation; give the text and the character span of each generation block.

        With ``prompt``, the header of an assistant turn follows. Raises jinja2's ``TemplateError``
        where the template refuses the conversation, and what its expressions raise.
        """
        variables = {
            **self._special,
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": prompt,
        }
        context = self._template.new_context(variables)
        with self._generation.tracking() as (pieces, spans):
            for piece in self._template.root_render_func(context):
                pieces.append(piece)
        return "".join(pieces), spans
