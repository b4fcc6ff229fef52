"""Errors a user can act on: what is wrong, where, what to do, and the exit code that says so."""

from dataclasses import dataclass
from typing import ClassVar


class TuneforgeError(Exception):
    """Base of every error that is shown to a user as a message, never as a traceback.

    ``message`` says where and what is wrong, ``fix`` what to do about it. Instances pickle, so a
    worker process can hand them back whole.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message


class UsageError(TuneforgeError):
    """The command line or a reference in it is wrong."""

    exit_code = 2


class DataError(TuneforgeError):
    """Input data cannot be used as it is."""

    exit_code = 3


class GateFailed(TuneforgeError):
    """An evaluation gate or the verification of an export did not pass."""

    exit_code = 4


class TrainingFailed(TuneforgeError):
    """Training ran out of memory, diverged, or its worker died."""

    exit_code = 5


class EnvironmentMissing(TuneforgeError):
    """A package, device, model or writable folder that the build needs is not there."""

    exit_code = 6


class NotFrozen(TuneforgeError):
    """A frozen build would differ from the committed lock file."""

    exit_code = 7


class Interrupted(TuneforgeError):
    """The user stopped the build; the next one resumes."""

    exit_code = 130


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a spec: ``file:line``, the key path, what is wrong, and the fix.

    Line 0 means the place as a whole: a file that cannot be read, or a ``--set`` argument.
    """

    file: str
    line: int
    key: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{text}\n  fix: {self.fix}" if self.fix else text


class SpecError(TuneforgeError):
    """Every problem of a spec at once."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.args = (problems,)
        self.problems = problems
