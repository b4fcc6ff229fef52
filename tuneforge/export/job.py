"""What every export format gets to work with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.gguf import Material
from tuneforge.step import Reporter

Runner = Callable[[dict[str, Any]], Path]


@dataclass(frozen=True)
class Trained:
    """What the model was trained on, as far as an export must honour it.

    ``terminators`` are the ids that end a turn, ``templates`` the chat templates of the renderings
    it saw (a merge may have several); both empty where no training is known.
    """

    terminators: tuple[int, ...] = ()
    templates: tuple[str, ...] = ()
    material: Material = field(default_factory=Material)


@dataclass(frozen=True)
class Job:
    """One export: from ``model`` (a folder of weights or of an adapter) into ``out``.

    ``base`` and ``base_model`` are the base's name and folder where they are known. ``linkable``
    says that the model's files are the workspace's own, so that hard links are safe. ``run_job``
    runs a job in a worker process and returns its output folder. ``beside`` are the jobs of the
    adapters that ship with this one, each into a folder of its own inside ``out``.
    """

    name: str
    model: ModelFolder
    out: Path
    trained: Trained
    report: Reporter
    run_job: Runner
    linkable: bool = False
    base: str = ""
    base_model: ModelFolder | None = None
    beside: tuple["Job", ...] = ()

    @property
    def terminators(self) -> Sequence[int]:
        """Ids at which generation must stop: the trained ones, else those the model declares."""
        return self.trained.terminators or self.model.terminators
