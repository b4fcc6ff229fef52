"""Hugging Face datasets, from the hub or saved to disk. Imports ``datasets``, only when used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.sources import HfSource

from tuneforge_datastore.ingest.rows import Row


def read_hf(source: HfSource, directory: Path) -> Iterator[Row]:
    """Read the rows of a dataset, streamed.

    Raises:
        EnvironmentMissing: the package ``datasets`` is not installed, or the hub gives nothing.
        DataError: the dataset has no such split.
    """
    try:
        import datasets
    except ImportError:
        raise EnvironmentMissing(
            f"source hf = {source.hf!r} needs the package `datasets`",
            "pip install 'tuneforge[train]'",
        ) from None
    rows = _saved(datasets, source, directory) if _is_saved(source, directory) else None
    try:
        if rows is None:
            rows = datasets.load_dataset(
                source.hf,
                source.subset or None,
                split=source.split,
                revision=source.revision,
                streaming=True,
            )
        for number, values in enumerate(rows, 1):
            yield Row(number, dict(values))
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().split("\n", maxsplit=1)[0]
        raise EnvironmentMissing(
            f"Hugging Face dataset {source.hf!r} (split {source.split!r}) cannot be read: {first}",
            "check the name, subset, split and revision, the network, and HF_TOKEN for gated data",
        ) from error


def _is_saved(source: HfSource, directory: Path) -> bool:
    folder = directory / Path(source.hf).expanduser()
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _saved(datasets: Any, source: HfSource, directory: Path) -> Any:
    folder = directory / Path(source.hf).expanduser()
    saved = datasets.load_from_disk(str(folder))
    if not isinstance(saved, datasets.DatasetDict):
        return saved
    if source.split not in saved:
        raise DataError(
            f"{folder}: no split {source.split!r}", f"the splits are {', '.join(saved)}"
        )
    return saved[source.split]
