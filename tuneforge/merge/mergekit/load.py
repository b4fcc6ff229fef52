"""Load a mergekit file as a spec: read, convert, and validate what came out like any spec."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tuneforge_specs.errors import SpecError, UsageError
from tuneforge_specs.loader import LoadedSpec, load
from tuneforge_specs.write import to_toml

from tuneforge.merge.mergekit.convert import spec_from


def load_mergekit(path: Path, overrides: Sequence[str] = ()) -> tuple[LoadedSpec, str]:
    """Return the spec of a mergekit file, and its TOML without the overrides.

    Relative paths start in the current folder, as mergekit has it. Raises UsageError for what has
    no counterpart, SpecError where the converted spec is not valid.
    """
    text = to_toml(spec_from(read_yaml(path), path.stem))
    name = f"{path.stem}.toml"
    with TemporaryDirectory(prefix="tuneforge-") as folder:
        file = Path(folder) / name
        file.write_text(text, "utf-8")
        try:
            loaded = load(file, overrides)
        except SpecError as error:
            place = f"{path} as TOML"
            raise SpecError(
                tuple(replace(p, file=place if p.file == str(file) else p.file, line=0)
                      for p in error.problems)
            ) from error  # fmt: skip
    return replace(loaded, path=Path.cwd() / name), text


def read_yaml(path: Path) -> Any:
    """Read one YAML document. Raises UsageError where there is none or it is broken."""
    import yaml

    try:
        documents = list(yaml.safe_load_all(path.read_text("utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a spec or a mergekit file") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{path}: broken YAML: {text}", "correct the file") from error
    if len(documents) != 1:
        raise UsageError(
            f"{path}: holds {len(documents)} YAML documents", "give each merge a file of its own"
        )
    return documents[0]
