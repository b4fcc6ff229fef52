"""Names of steps as a user types them."""

from collections.abc import Iterable
from difflib import get_close_matches

from tuneforge_specs.errors import UsageError

from tuneforge.step import Step


def find_steps(steps: Iterable[Step], names: Iterable[str]) -> frozenset[str]:
    """Turn step ids, or names that only one step has, into ids; raise UsageError for others."""
    known = list(steps)
    return frozenset(find_step(known, name) for name in names)


def find_step(steps: Iterable[Step], name: str) -> str:
    """Find one step by id or by a name that is not ambiguous."""
    known = list(steps)
    ids = [step.id for step in known]
    if name in ids:
        return name
    named = [step.id for step in known if step.name == name]
    if len(named) == 1:
        return named[0]
    if named:
        raise UsageError(f"{name} is more than one step", f"say which: {', '.join(named)}")
    close = get_close_matches(name, [*ids, *(step.name for step in known)], n=1)
    raise UsageError(
        f"no step {name} in this spec",
        f"did you mean {close[0]}?" if close else f"the steps are: {', '.join(ids)}",
    )
