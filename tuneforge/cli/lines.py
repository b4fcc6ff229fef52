"""A reporter for commands that run a step outside of a build."""

import sys
from collections.abc import Mapping


class Lines:
    """A reporter that writes plain lines to stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._moving = sys.stderr.isatty() and not quiet

    def progress(self, done: float, total: float, unit: str = "") -> None:
        """Redraw one line where there is a terminal."""
        if self._moving and total:
            end = "\n" if done >= total else ""
            sys.stderr.write(f"\r{100 * done / total:3.0f}% of {total:,.0f} {unit}{end}")

    def log(self, message: str) -> None:
        """Write a line."""
        if not self._quiet:
            sys.stderr.write(f"{message}\n")

    def warn(self, message: str) -> None:
        """Write a line, always: it is no part of the result on stdout."""
        sys.stderr.write(f"warning: {message}\n")

    def metrics(self, values: Mapping[str, float | int | str]) -> None:
        """Leave measurements of the worker out."""
