"""Complete, commented specs to begin from, one TOML file each."""

from dataclasses import dataclass
from importlib.resources import files

from tuneforge_specs.errors import UsageError
from tuneforge_specs.suggest import nearest


@dataclass(frozen=True)
class Recipe:
    """One spec to begin from; ``summary`` is the first line of its ``text``, a comment."""

    name: str
    summary: str
    text: str


def recipes() -> dict[str, Recipe]:
    """Give every shipped recipe by name, sorted."""
    found = {}
    for entry in sorted(files(__name__).iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            text = entry.read_text(encoding="utf-8")
            name = entry.name.removesuffix(".toml")
            found[name] = Recipe(name, text.partition("\n")[0].lstrip("# "), text)
    return found


def recipe(name: str) -> Recipe:
    """Give one recipe. Raise ``UsageError`` where there is none of that name."""
    every = recipes()
    if name not in every:
        raise UsageError(f"there is no recipe `{name}`", nearest(name, every))
    return every[name]
