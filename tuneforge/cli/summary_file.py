"""The Markdown summary of a build, written however the build ends."""

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tuneforge_specs.errors import UsageError

from tuneforge.cli.options import write_file

if TYPE_CHECKING:
    from tuneforge_specs.loader import LoadedSpec

    from tuneforge.build.result import BuildResult
    from tuneforge.console.summary import Summary


class SummaryFile:
    """Writes ``file`` when the block ends, with what was known then and the error that ended it.

    It is written at the start, too: a place that cannot be written is found before hours of work,
    and a build that is killed leaves a page that says so. Without a file nothing is written.
    """

    def __init__(self, file: Path | None, spec: Path, *, smoke: bool) -> None:
        self._file, self._spec, self._smoke = file, spec, smoke
        self.loaded: LoadedSpec | None = None
        self.result: BuildResult | None = None

    def __enter__(self) -> Self:
        if self._file is not None:
            write_file(self._file, f"# {self._spec.name}\n\nThe build did not come to an end.\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        from tuneforge.console.markdown import as_markdown

        try:
            write_file(self._file, as_markdown(self.told(error)))
        except UsageError as unwritable:
            if error is None:
                raise
            sys.stderr.write(f"warning: no summary: {unwritable.message}\n")

    def begun(self, result: "BuildResult") -> None:
        """Take the result of the build that begins; it grows as the build goes."""
        self.result = result

    def told(self, error: BaseException | None = None) -> "Summary":
        """Return the summary of what is known by now."""
        from tuneforge.console.summary import Summary, failure_of, summarise

        if self.loaded is not None and self.result is not None:
            return summarise(self.loaded, self.result, smoke=self._smoke, error=error)
        failure = None if error is None else failure_of(error)
        return Summary(self._spec.name, 0.0, (), 0, failure=failure)
