"""The Markdown summary of a build or merge, written however it ends."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tuneforge_specs.errors import UsageError

from tuneforge.build.commit import size_of
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

    def __init__(self, file: Path | None, spec: Path, *, smoke: bool = False) -> None:
        self._file, self._spec, self._smoke = file, spec, smoke
        self.loaded: LoadedSpec | None = None
        self.result: BuildResult | None = None

    def __enter__(self) -> Self:
        if self._file is not None:
            write_file(self._file, f"# {self._spec.name}\n\nThis did not come to an end.\n")
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


class MergeSummaryFile(SummaryFile):
    """The summary of ``tuneforge merge``: what ``done`` was told of."""

    def __init__(self, file: Path | None, spec: Path) -> None:
        super().__init__(file, spec)
        self._done: list[tuple[str, float, Path, int]] = []
        self._warnings: list[tuple[str, str]] = []

    def done(self, step: str, seconds: float, folder: Path, warnings: Iterable[str]) -> None:
        """Note that a merge has been written to ``folder``."""
        self._done.append((step, seconds, folder, size_of(folder)))
        self._warnings += [(step, text) for text in warnings]

    def told(self, error: BaseException | None = None) -> "Summary":
        """Return the summary of the merges written by now."""
        from tuneforge.console.summary import Place, Summary, failure_of

        return Summary(
            self._spec.name,
            sum(seconds for _, seconds, _, _ in self._done),
            tuple((step, seconds) for step, seconds, _, _ in self._done),
            0,
            places=tuple(Place(step, folder, size) for step, _, folder, size in self._done),
            warnings=tuple(self._warnings),
            failure=None if error is None else failure_of(error),
        )
