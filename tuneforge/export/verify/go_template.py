"""Go's text/template, as far as chat templates need it: what Ollama makes of a TEMPLATE.

Written from https://pkg.go.dev/text/template; knows text, string literals, fields, `if`, `range`
over messages, `eq`, `and` and `index`. Whatever else stands in a template is an error, not a guess.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, str]
ACTION = re.compile(r"\{\{ ((?:\"(?:[^\"\\]|\\.)*\"|[^\"}])*?) \}\}")
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\(|\)|[^\s()]+)')


class GoTemplateError(ValueError):
    """The template has something that is not understood."""


@dataclass(frozen=True)
class Scope:
    """What `.`, `$` and `$i` mean where a piece of the template runs."""

    dot: Any
    root: Any
    index: int = -1


Node = Callable[[Scope], str]


def render(template: str, messages: Sequence[Message]) -> str:
    """Return what a template makes of a conversation (`.Messages`)."""
    pieces = ACTION.split(template)
    tokens = [(n % 2 == 1, piece) for n, piece in enumerate(pieces) if n % 2 or piece]
    nodes, rest = _nodes(tokens)
    if rest:
        raise GoTemplateError(f"unexpected {rest[0][1]!r}")
    root = {"Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages]}
    scope = Scope(root, root)
    return "".join(node(scope) for node in nodes)


Tokens = list[tuple[bool, str]]


def _nodes(tokens: Tokens) -> tuple[list[Node], Tokens]:
    """Read nodes up to the `else` or `end` that closes the enclosing action."""
    nodes: list[Node] = []
    while tokens:
        (action, text), rest = tokens[0], tokens[1:]
        if action and (text == "end" or text.startswith("else")):
            break
        if not action:
            if "{{" in text:
                raise GoTemplateError(f"unreadable action in {text!r}")
            nodes.append(lambda _scope, text=text: text)  # type: ignore[misc]
            tokens = rest
        elif text.startswith("if "):
            node, tokens = _if(text[3:], rest)
            nodes.append(node)
        elif text.startswith("range "):
            node, tokens = _range(text, rest)
            nodes.append(node)
        else:
            nodes.append(_shown(text))
            tokens = rest
    return nodes, tokens


def _shown(expression: str) -> Node:
    return lambda scope: str(_evaluate(expression, scope))


def _if(condition: str, tokens: Tokens) -> tuple[Node, Tokens]:
    branches: list[tuple[str, list[Node]]] = []
    while True:
        nodes, tokens = _nodes(tokens)
        branches.append((condition, nodes))
        closing, tokens = _closing(tokens)
        if closing == "end":
            break
        condition = closing.removeprefix("else").removeprefix(" if ") or "true"

    def node(scope: Scope) -> str:
        for asked, nodes in branches:
            if asked == "true" or _evaluate(asked, scope):
                return "".join(each(scope) for each in nodes)
        return ""

    return node, tokens


def _range(header: str, tokens: Tokens) -> tuple[Node, Tokens]:
    if header != "range $i, $_ := .Messages":
        raise GoTemplateError(f"unknown {header!r}")
    nodes, tokens = _nodes(tokens)
    closing, tokens = _closing(tokens)
    if closing != "end":
        raise GoTemplateError("range with else")

    def node(scope: Scope) -> str:
        scopes = (Scope(dot, scope.root, i) for i, dot in enumerate(scope.dot["Messages"]))
        return "".join(each(inner) for inner in scopes for each in nodes)

    return node, tokens


def _closing(tokens: Tokens) -> tuple[str, Tokens]:
    if not tokens:
        raise GoTemplateError("an action is not closed")
    return tokens[0][1], tokens[1:]


def _evaluate(expression: str, scope: Scope) -> Any:
    words = [match[1] for match in TOKEN.finditer(expression)]
    value, rest = _call(words, scope)
    if rest:
        raise GoTemplateError(f"cannot read {expression!r}")
    return value


def _call(words: list[str], scope: Scope) -> tuple[Any, list[str]]:
    """Evaluate a pipeline without pipes: a function with its operands, or one operand."""
    if not words:
        raise GoTemplateError("an action is empty")
    functions: dict[str, Callable[..., Any]] = {
        "eq": lambda first, *others: first in others,
        "and": lambda *values: all(values),
        "index": lambda items, number: items[number],
    }
    if words[0] not in functions:
        return _operand(words, scope)
    operands, rest = [], words[1:]
    while rest and rest[0] != ")":
        operand, rest = _operand(rest, scope)
        operands.append(operand)
    return functions[words[0]](*operands), rest


def _operand(words: list[str], scope: Scope) -> tuple[Any, list[str]]:
    word, rest = words[0], words[1:]
    if word == "(":
        value, rest = _call(rest, scope)
        if rest[:1] != [")"]:
            raise GoTemplateError("a parenthesis is not closed")
        rest = rest[1:]
        while rest and rest[0].startswith("."):
            value, rest = value[rest[0][1:]], rest[1:]
        return value, rest
    if word.startswith('"'):
        return json.loads(word), rest
    if word.isdecimal():
        return int(word), rest
    if word == "$i":
        return scope.index, rest
    name, _, field = word.partition(".")
    if name not in ("", "$") or not field:
        raise GoTemplateError(f"unknown {word!r}")
    return (scope.root if name else scope.dot)[field], rest
