"""The nearest valid word for one that is not."""

from collections.abc import Iterable


def close_to(word: str, valid: Iterable[str]) -> str | None:
    """Give the valid word most like ``word``, None where none is near."""
    from difflib import get_close_matches

    folded = {_fold(choice): choice for choice in sorted(valid, reverse=True)}
    found = get_close_matches(_fold(word), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def nearest(word: str, valid: Iterable[str]) -> str:
    """Give a fix: the nearest valid word, else all of them."""
    choices = list(valid)
    best = close_to(word, choices)
    if best is not None:
        return f"did you mean `{best}`?"
    return f"valid: {listing(choices)}" if choices else "there are none"


def listing(choices: Iterable[str]) -> str:
    """Write the choices as ``a``, ``b`` or ``c``."""
    quoted = [f"`{choice}`" for choice in choices]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _fold(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
