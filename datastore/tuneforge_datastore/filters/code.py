"""Fenced code blocks: required, forbidden, or left open."""

from tuneforge_specs.filters import CodeFilter

from tuneforge_datastore import fences
from tuneforge_datastore.filters import PARTS, Check
from tuneforge_datastore.quoting import literal


def check(spec: CodeFilter) -> Check:
    """Drop by the blocks of ``languages``, or of any; the score is how many there are."""
    blocks = f"{fences.NAME}({PARTS[spec.of]})"
    if spec.languages:
        wanted = ", ".join(literal(language.lower()) for language in spec.languages)
        blocks = f"list_filter({blocks}, lambda b: b.language IN ({wanted}))"
    unclosed = f"list_filter({blocks}, lambda b: NOT b.closed)"
    kind = " or ".join(spec.languages)
    named = f"{kind} code" if kind else "code"
    keep, reason = {
        "require": (f"len({blocks}) > 0", f"no fenced {named}"),
        "forbid": (f"len({blocks}) = 0", f"fenced {named}"),
        "closed": (f"len({unclosed}) = 0", f"a block of {named} is left open"),
    }[spec.fences]
    return Check(
        rule="code",
        keep=keep,
        reason=literal(f"{reason} in the {spec.of}"),
        score=f"len({blocks})",
        evidence=f"coalesce({blocks}[-1].opening, '')",
        prepare=lambda setting: fences.register(setting.connection),
    )
