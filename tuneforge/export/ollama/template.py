"""Ollama's Go template, derived from a Jinja chat template by rendering it, and proven by it.

Ollama runs Go templates, models carry Jinja ones. Instead of a table of known models, the Jinja
template is rendered with marked conversations; what stands around each turn is read off, and the
result is accepted only where it reproduces the Jinja template on conversations of every shape.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

Message = dict[str, str]
Render = Callable[[list[Message], bool], str]

SYSTEM, USER, ASSISTANT, LATER = "\u2460S\u2460", "\u2461U\u2461", "\u2462A\u2462", "\u2463V\u2463"


@dataclass(frozen=True)
class Derived:
    """A template that is a chain of turns.

    What precedes a user's text depends on where it stands: ``opening`` at the start, ``told`` after
    a system text at the start, else ``later``. ``system`` precedes a system text and is None where
    the template refuses one. ``answer`` is the generation prompt.
    """

    opening: str
    later: str
    after_user: str
    before_assistant: str
    after_assistant: str
    answer: str
    system: str | None = None
    told: str = ""

    def render(self, messages: Sequence[Message], *, prompt: bool) -> str:
        """Return what Ollama makes of a conversation with the Go template."""
        parts = []
        for index, message in enumerate(messages):
            content = message["content"]
            if message["role"] == "system":
                parts.append(f"{self.system}{content}")
            elif message["role"] == "assistant":
                parts.append(f"{self.before_assistant}{content}{self.after_assistant}")
            else:
                told = index == 1 and messages[0]["role"] == "system"
                before = self.opening if index == 0 else self.told if told else self.later
                parts.append(f"{before}{content}{self.after_user}")
        return "".join(parts) + (self.answer if prompt else "")

    def go(self) -> str:
        """Return the Go template."""
        user = self._before_user()
        before, after = _go(self.before_assistant), _go(self.after_assistant)
        assistant = f"{before}{{{{ .Content }}}}{after}"
        branches = [
            f'{{{{ if eq .Role "user" }}}}{user}{{{{ .Content }}}}{_go(self.after_user)}',
            f'{{{{ else if eq .Role "assistant" }}}}{assistant}',
        ]
        if self.system is not None:
            after = _go(self.told.removesuffix(self.later)) if self._simple else ""
            before = _go(self.system)
            branches.append(f'{{{{ else if eq .Role "system" }}}}{before}{{{{ .Content }}}}{after}')
        turns = "".join(branches)
        chain = f"{{{{ range $i, $_ := .Messages }}}}{turns}{{{{ end }}}}{{{{ end }}}}"
        return chain + _go(self.answer)

    @property
    def _simple(self) -> bool:
        """Whether every user turn opens alike, wherever it stands."""
        told = self.system is None or self.told.endswith(self.later)
        return told and self.opening == self.later

    def _before_user(self) -> str:
        if self._simple:
            return _go(self.later)
        told = ""
        if self.system is not None:
            told = (
                '{{ else if and (eq $i 1) (eq (index $.Messages 0).Role "system") }}'
                f"{_go(self.told)}"
            )
        later = f"{{{{ else }}}}{_go(self.later)}{{{{ end }}}}"
        return f"{{{{ if eq $i 0 }}}}{_go(self.opening)}{told}{later}"


def _go(text: str) -> str:
    """Return literal text for a Go template."""
    return text.replace("{{", '{{ "{{" }}')


def derive(render: Render) -> Derived | str:
    """Return the Go counterpart of a Jinja template, or why it has none.

    ``render`` gives a conversation's text, with or without the generation prompt, and may raise
    jinja2's TemplateError for conversations that the template refuses.
    """
    try:
        derived = _read_off(render)
        for messages in conversations(with_system=derived.system is not None):
            for prompt in (False, True):
                if derived.render(messages, prompt=prompt) != _rendered(render, messages, prompt):
                    roles = ", ".join(message["role"] for message in messages)
                    return f"it is no chain of turns: {roles} come out otherwise together"
    except _Shapeless as error:
        return str(error)
    return derived


class _Shapeless(Exception):
    """The template does not have the shape of a chain of turns."""


def _rendered(render: Render, messages: list[Message], prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        return render(messages, prompt)
    except TemplateError as error:
        raise _Shapeless(f"it refuses a conversation ({error})") from error


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _read_off(render: Render) -> Derived:
    user, assistant = _turn("user", USER), _turn("assistant", ASSISTANT)
    asked = _rendered(render, [user], False)
    answer = _after(asked, _rendered(render, [user], True), "the generation prompt")
    opening, after_user = _parts(asked, USER)
    _, middle, after_assistant = _parts(
        _rendered(render, [user, assistant], False), USER, ASSISTANT
    )
    talk = _rendered(render, [user, assistant, _turn("user", LATER)], False)
    _, _, joint, _ = _parts(talk, USER, ASSISTANT, LATER)
    derived = Derived(
        opening=opening,
        later=_after(after_assistant, joint, "a later user turn"),
        after_user=after_user,
        before_assistant=_after(after_user, middle, "the assistant's turn"),
        after_assistant=after_assistant,
        answer=answer,
    )
    try:
        text = _rendered(render, [_turn("system", SYSTEM), user], False)
        system, told, _ = _parts(text, SYSTEM, USER)
    except _Shapeless:
        return derived
    return replace(derived, system=system, told=told)


def _parts(text: str, *marks: str) -> list[str]:
    """Return what stands before, between and after the marks."""
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found:
            raise _Shapeless("it leaves out or changes the text of a turn")
        parts.append(before)
    return [*parts, text]


def _after(shorter: str, longer: str, what: str) -> str:
    if not longer.startswith(shorter):
        raise _Shapeless(f"{what} changes what stands before it")
    return longer[len(shorter) :]


def conversations(*, with_system: bool) -> list[list[Message]]:
    """Return conversations of every shape that Ollama sends."""
    talk = [_turn("user", "Hi {{ x }}"), _turn("assistant", "Yes, 'so'."), _turn("user", "a\nb")]
    shapes = [talk[:1], talk, talk[:2], [*talk, _turn("assistant", "ok"), *talk[:1]]]
    if with_system:
        shapes += [[_turn("system", "Be brief."), *shape] for shape in shapes]
    return shapes
