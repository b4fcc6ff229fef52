"""Which console a command gets."""

import os
import sys

from tuneforge.console.base import Console, Silent
from tuneforge.console.lines import JsonLines
from tuneforge.console.plain import Plain


def choose(*, json: bool = False, quiet: bool = False) -> Console:
    """Give JSON lines where asked for, the live view on a terminal, plain lines elsewhere."""
    if json:
        return JsonLines(sys.stdout)
    if quiet:
        return Silent()
    if moving():
        from rich.console import Console as RichConsole

        from tuneforge.console.terminal import Terminal

        return Terminal(RichConsole(file=sys.stdout))
    return Plain(sys.stdout)


def moving() -> bool:
    """Say whether stdout is a terminal that can redraw a line."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb"}
