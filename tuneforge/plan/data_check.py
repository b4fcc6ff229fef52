"""What a plan can refuse about data: packages that reading or curating it needs."""

from collections.abc import Iterable
from importlib.util import find_spec

from tuneforge_specs.errors import EnvironmentMissing
from tuneforge_specs.sources import HfSource
from tuneforge_specs.spec import Spec

from tuneforge.step import Step


def check_data(spec: Spec, steps: Iterable[Step]) -> None:
    """Raise EnvironmentMissing where one of these steps lacks an optional package."""
    for step in steps:
        if step.kind == "source" and isinstance(spec.sources[step.name], HfSource):
            _require("datasets", "train", f"sources.{step.name}.hf: reading a Hugging Face dataset")
        elif step.kind == "dataset":
            for index, one in enumerate(spec.datasets[step.name].filters):
                if one.kind == "language":
                    place = f"datasets.{step.name}.filters[{index}]"
                    _require("lingua", "language", f"{place}: the language filter")


def _require(module: str, extra: str, what: str) -> None:
    if not installed(module):
        package = {"lingua": "lingua-language-detector"}.get(module, module)
        raise EnvironmentMissing(
            f"{what} needs the package {package}, which is not installed",
            f"pip install 'tuneforge[{extra}]'",
        )


def installed(package: str) -> bool:
    """Say whether a package can be imported, without importing it."""
    return find_spec(package) is not None
