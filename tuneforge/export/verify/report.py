"""What a verification found: checks that passed, failed, or could not be made."""

from dataclasses import dataclass, field, replace
from typing import Any

from tuneforge_specs.errors import GateFailed


@dataclass(frozen=True)
class Check:
    """One comparison: what, of which file, read by whom, and what came out."""

    name: str
    file: str
    reader: str
    passed: bool
    detail: str


@dataclass
class Report:
    """All checks of an export. ``unverified`` says what was not checked and why."""

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    measured: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, name: str, file: str, reader: str, passed: bool, detail: str) -> None:
        """Record one check."""
        self.checks.append(Check(name, file, reader, passed, detail))

    def include(self, folder: str, part: "Report") -> None:
        """Take over what was found about the files of a folder inside the export."""
        self.checks += [replace(check, file=f"{folder}/{check.file}") for check in part.checks]
        self.notes += [f"{folder}: {note}" for note in part.notes]
        self.unverified += [f"{folder}: {reason}" for reason in part.unverified]

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def raise_failed(self) -> None:
        """Raise GateFailed naming every check that did not pass."""
        if self.failed:
            lines = "\n".join(
                f"  {check.file}: {check.name} ({check.reader}): {check.detail}"
                for check in self.failed
            )
            raise GateFailed(
                f"the export differs from the model it came from:\n{lines}",
                "no export was left; use a finer type if it is the error of a quantisation,"
                " otherwise report this model's architecture and tokenizer",
            )

    def as_json(self) -> dict[str, Any]:
        """Return verification.json; floats rounded, so that equal exports have equal reports."""
        return {
            "v": 1,
            "passed": not self.failed,
            "checks": [
                {
                    "name": check.name,
                    "file": check.file,
                    "reader": check.reader,
                    "passed": check.passed,
                    "detail": check.detail,
                }
                for check in self.checks
            ],
            "measured": {
                file: {key: float(f"{value:.3g}") for key, value in values.items()}
                for file, values in sorted(self.measured.items())
            },
            "notes": self.notes,
            "unverified": self.unverified,
        }
