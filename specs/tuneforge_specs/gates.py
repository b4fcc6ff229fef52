"""The gates of an evaluation: ``exact-match >= 0.8``, ``loss < base``, ``loss <= base - 0.1``."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
    "==": operator.eq,
}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?"
_GATE = re.compile(
    r"\s*(?P<metric>[A-Za-z][A-Za-z0-9_.:@-]*)\s*(?P<op>>=|<=|==|>|<)\s*"
    rf"(?:(?P<number>{_NUMBER})|(?P<base>base)(?:\s*(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?)\s*"
)


@dataclass(frozen=True)
class Gate:
    """One comparison of a metric with a number, or with the base model's value plus an offset."""

    text: str
    metric: str
    op: str
    offset: float
    relative: bool

    def bound(self, base: float | None = None) -> float:
        """Give the number compared with. Raise ``ValueError`` where the base's value is needed."""
        if not self.relative:
            return self.offset
        if base is None:
            raise ValueError(f"the gate `{self.text}` needs the base's {self.metric}")
        return base + self.offset

    def passes(self, value: float, base: float | None = None) -> bool:
        """Compare ``value``; a value that is not a number passes no gate."""
        return _OPERATORS[self.op](value, self.bound(base))


def parse_gate(text: str) -> Gate:
    """Read ``<metric> <op> <number | base | base + number | base - number>``.

    A number may be a percentage (``80%`` is 0.8). Raise ``ValueError`` for anything else.
    """
    match = _GATE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a gate')
    relative = match["base"] is not None
    offset = _number(match["offset"] if relative else match["number"])
    if match["sign"] == "-":
        offset = -offset
    return Gate(text.strip(), match["metric"], match["op"], offset, relative)


def _number(text: str | None) -> float:
    if text is None:
        return 0.0
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def metric_name(metric: object) -> str:
    """Give the name by which gates and reports call an entry of ``metrics``."""
    return metric if isinstance(metric, str) else str(getattr(metric, "kind"))  # noqa: B009
