"""Load a spec: one call from a path to a valid, resolved spec or to every problem at once."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuneforge_specs.combinations import continue_adapters, contradictions, without_effect
from tuneforge_specs.document import Document, read
from tuneforge_specs.errors import Problem, SpecError
from tuneforge_specs.findings import Finding, with_nul
from tuneforge_specs.keypath import parse_path, path_text
from tuneforge_specs.overrides import apply
from tuneforge_specs.references import check_references
from tuneforge_specs.spec import Spec


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec, where it was read, and what is questionable about it.

    Relative paths in the spec, also those in included files, start at ``directory``.
    """

    spec: Spec
    path: Path
    warnings: tuple[Problem, ...]
    document: Document = field(repr=False)

    @property
    def directory(self) -> Path:
        """Give the folder that relative paths start at."""
        return self.path.absolute().parent

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """Give the whole spec as plain values, every default filled, keys as TOML writes them."""
        return self.spec.model_dump(mode="json", by_alias=True)

    def position(self, key_path: str) -> tuple[str, int]:
        """Give the file and line of ``datasets.instruct.filters[0].min``, or of what holds it."""
        return self.document.position(parse_path(key_path))


def load(path: Path, overrides: Sequence[str] = ()) -> LoadedSpec:
    """Load the spec at ``path`` with ``--set`` texts applied.

    Raise ``UsageError`` where there is no such file and ``SpecError`` with all problems else.
    """
    document = read(Path(path))
    problems = [
        problem for override in overrides if (problem := apply(document, override)) is not None
    ]
    problems += [_problem(document, finding) for finding in with_nul(document.data)]
    spec, valid = _validate(document, problems)
    if spec is not None:
        spec = continue_adapters(spec)
        found = [*check_references(spec, document.data), *contradictions(spec)]
        problems += [_problem(document, finding) for finding in found]
    if problems or spec is None or not valid:
        raise SpecError(tuple(_ordered(document, problems)))
    warnings = tuple(_problem(document, found) for found in without_effect(spec))
    return LoadedSpec(spec, Path(path), warnings, document)


def _validate(document: Document, problems: list[Problem]) -> tuple[Spec | None, bool]:
    """Validate; where that fails, give what is left without the faulty parts, to check on."""
    try:
        return Spec.model_validate(document.data, by_alias=True, by_name=False), True
    except ValidationError:
        pass
    from tuneforge_specs.explain import explain
    from tuneforge_specs.prune import prune

    found = explain(Spec, document.data)
    problems += [_problem(document, Finding(w.path, w.message, w.fix)) for w in found]
    return prune(copy.deepcopy(document.data)), False


def _problem(document: Document, found: Finding) -> Problem:
    file, line = document.position(found.path)
    return Problem(file, line, path_text(found.path), found.message, found.fix)


def _ordered(document: Document, problems: list[Problem]) -> list[Problem]:
    """Sort by file, in order of reading from the spec itself, then by line."""
    files = [layer.file for layer in reversed(document.layers)]
    rank = {file: number for number, file in reversed(list(enumerate(files)))}
    main = str(document.path)
    return sorted(
        dict.fromkeys(problems),
        key=lambda p: (p.file != main, rank.get(p.file, len(files)), p.line),
    )
