"""What the spec names outside itself, looked up once: files, model folders, hub commits."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tuneforge_specs.base import ModelBase
from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.merge import AdapterInput, ModelInput
from tuneforge_specs.sources import HfSource, PathSource, Source, SqlSource
from tuneforge_specs.spec import Spec

from tuneforge.plan.files import model_files, source_files, sql_files, template_file, wordlist_files
from tuneforge.plan.hub import Located, locate


@dataclass(frozen=True)
class External:
    """The files one step reads from outside, and the commit it is pinned to ("" for none)."""

    files: Mapping[str, Path] = field(default_factory=dict)
    commits: Mapping[str, str] = field(default_factory=dict)


NOTHING = External()
Position = Callable[[str], tuple[str, int]]


def gather(
    spec: Spec, directory: Path, *, stdin: Path, pins: Mapping[str, str], position: Position
) -> dict[str, External]:
    """Look up what each step needs from outside, by step id.

    ``pins`` maps spec key paths to commits of the lock file, ``position`` key paths to file and
    line. Raises DataError for missing data and EnvironmentMissing for a missing model, both naming
    the key.
    """
    found: dict[str, External] = {}
    for name, source in spec.sources.items():
        kind = next(k for k in ("path", "sql", "hf") if getattr(source, k, None) is not None)
        with _named(f"sources.{name}.{kind}", position):
            found[f"source.{name}"] = _source(name, source, directory, stdin, pins)
    if isinstance(spec.base, ModelBase):
        key = "base.model"
        with _named(key, position):
            place = locate(
                spec.base.model,
                spec.base.revision,
                kind="model",
                pinned=pins.get(key, ""),
                directory=directory,
            )
            found["base"] = _weights(place, key, "model")
    for name, dataset in spec.datasets.items():
        with _named(f"datasets.{name}.filters", position):
            found[f"dataset.{name}"] = External(wordlist_files(dataset.filters, directory))
        with _named(f"datasets.{name}.template.chat", position):
            found[f"render.{name}"] = External(template_file(dataset.template.chat, directory))
    for name in spec.merge:
        found[f"merge.{name}"] = _merge(spec, name, directory, pins, position)
    return found


@contextmanager
def _named(key: str, position: Position) -> Iterator[None]:
    """Say of what is missing where the spec asks for it."""
    try:
        yield
    except (DataError, EnvironmentMissing) as error:
        file, line = position(key)
        place = f"{file}:{line}" if line else file
        raise type(error)(f"{place}: {key}: {error.message}", error.fix) from error


def _source(
    name: str, source: Source, directory: Path, stdin: Path, pins: Mapping[str, str]
) -> External:
    if isinstance(source, PathSource):
        return External(source_files(name, source, directory, stdin))
    if isinstance(source, SqlSource):
        return External(sql_files(source, directory))
    assert isinstance(source, HfSource)
    key = f"sources.{name}.hf"
    place = locate(
        source.hf, source.revision, kind="dataset", pinned=pins.get(key, ""), directory=directory
    )
    if place.commit:
        return External(commits={key: place.commit})
    assert place.folder is not None
    return External(model_files(place.folder, source.hf))


def _merge(
    spec: Spec, name: str, directory: Path, pins: Mapping[str, str], position: Position
) -> External:
    files: dict[str, Path] = {}
    commits: dict[str, str] = {}
    for index, entry in enumerate(spec.merge[name].inputs):
        if isinstance(entry, ModelInput):
            what, text = "model", entry.model
        elif isinstance(entry, AdapterInput):
            what, text = "adapter", entry.adapter
        else:
            continue
        key = f"merge.{name}.inputs[{index}].{what}"
        pinned = pins.get(key, "")
        with _named(key, position):
            place = locate(text, "main", kind="model", pinned=pinned, directory=directory)
            found = _weights(place, key, f"inputs[{index}]")
        files |= found.files
        if what == "adapter" and place.folder:
            origin = _origin(place.folder)  # says what the adapter trained on
            files |= {f"inputs[{index}].origin": origin} if origin else {}
        commits |= found.commits
    return External(files, commits)


def _origin(adapter: Path) -> Path | None:
    names = ("training.json", "merge.json")
    files = [folder / name for folder in (adapter, adapter.parent) for name in names]
    return next((file for file in files if file.is_file()), None)


def _weights(place: Located, key: str, role: str) -> External:
    if place.commit:
        return External(commits={key: place.commit})
    assert place.folder is not None
    files = model_files(place.folder, role)
    known = {f"{role}/config.json", f"{role}/adapter_config.json"}
    if not known & set(files):
        raise EnvironmentMissing(
            f"{place.folder} holds no model (no config.json)",
            "name a folder with config.json, a tokenizer and *.safetensors",
        )
    return External(files)
