"""The plan of a GGUF file's tensors: which tensor becomes which, in what type, changed how."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf.architectures.architecture import Architecture, Change, Rows
from tuneforge.export.gguf.config import Config
from tuneforge.export.gguf.types import FileType, byte_size, tensor_type

# Buffers that older checkpoints store and every runtime computes.
IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Planned:
    """One tensor of the file. ``source`` is its Hugging Face name, or ``rows`` its values."""

    name: str
    shape: tuple[int, ...]
    type: str
    source: str = ""
    rows: Rows | None = None
    change: Change | None = None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return byte_size(self.type, self.shape)


def plan_tensors(
    config: Config,
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
    kind: FileType,
) -> list[Planned]:
    """Return the tensors of a file in writing order.

    Raises UsageError for a tensor that the architecture does not have, and for a head that is
    missing though it is not tied.
    """
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = get_tensor_name_map(arch, config.integer("num_hidden_layers"))
    planned = [
        Planned(name, rows.shape, tensor_type(kind, name, rows.shape), rows=rows)
        for name, rows in architecture.extra_tensors(config).items()
    ]
    unknown = []
    for source, shape in shapes.items():
        if source.endswith(IGNORED_SUFFIXES) or (source == HEAD and config.tied):
            continue
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            unknown.append(source)
            continue
        planned.append(
            Planned(
                name,
                shape,
                tensor_type(kind, name, shape),
                source=source,
                change=architecture.change(config, source),
            )
        )
    if unknown:
        raise UsageError(
            f"{len(unknown)} tensors are not part of a {architecture.name} model: "
            + ", ".join(unknown[:3]),
            "export a merged model without adapters or extra heads",
        )
    if HEAD not in shapes and not config.tied:
        raise UsageError(
            f"the model has no {HEAD} though config.json says that it is not tied",
            "set tie_word_embeddings = true in config.json, or make the model again",
        )
    return planned
