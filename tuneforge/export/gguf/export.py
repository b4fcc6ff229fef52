"""From a model folder to a GGUF file."""

from dataclasses import dataclass
from pathlib import Path

from tuneforge_specs.errors import UsageError

from tuneforge.export.gguf.architectures import architecture_of
from tuneforge.export.gguf.architectures.architecture import Architecture, Metadata
from tuneforge.export.gguf.check import check
from tuneforge.export.gguf.config import Config
from tuneforge.export.gguf.special import SpecialTokens, general_name, special_tokens
from tuneforge.export.gguf.tensors import Planned, plan_tensors
from tuneforge.export.gguf.types import FILE_TYPES, FileType
from tuneforge.export.gguf.vocabulary import vocabulary_of
from tuneforge.export.gguf.writer import Content, full_metadata
from tuneforge.export.model_folder import ModelFolder
from tuneforge.weights import Weights

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
QUANTIZATION_VERSION = 2  # of the block layouts; llama.cpp refuses files of another


@dataclass(frozen=True)
class GgufPlan:
    """All that a GGUF file will hold, known before any weight is read."""

    type: str
    content: Content
    special: SpecialTokens
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.content.tensors)


def plan_gguf(
    folder: Path, weights: Weights, type_name: str, name: str, terminators: tuple[int, ...] = ()
) -> GgufPlan:
    """Return the plan of one file; ``terminators`` are the ids the model was trained to end on."""
    model = ModelFolder(folder)
    notes = check(model.config)
    architecture = architecture_of(model.config)
    config = Config(model.config)
    kind = FILE_TYPES[type_name]
    _refuse_integers(weights)
    shapes = {tensor: info.shape for tensor, info in weights.items()}
    planned = plan_tensors(config, architecture, shapes, kind)
    embedding = next(tensor for tensor in planned if tensor.name == "token_embd.weight")
    vocabulary = vocabulary_of(model, embedding.shape[0])
    special = special_tokens(model, terminators)
    content = Content(
        architecture=architecture.name,
        metadata=_metadata(
            architecture, config, kind, general_name(architecture.name, model, name), special
        ),
        vocabulary=vocabulary,
        tensors=tuple(planned),
    )
    return GgufPlan(
        type=type_name,
        content=content,
        special=special,
        notes=notes + vocabulary.notes + _fallback_notes(kind, planned),
    )


def _refuse_integers(weights: Weights) -> None:
    for name, tensor in weights.items():
        if tensor.dtype not in FLOATS:
            raise UsageError(
                f"{weights.folder}: {name} is stored as {tensor.dtype}: a quantised checkpoint",
                "merge into the 16-bit base first, then export",
            )


def _metadata(
    architecture: Architecture, config: Config, kind: FileType, name: str, special: SpecialTokens
) -> Metadata:
    general: dict[str, str | int] = {
        "type": "model",
        "name": name,
        "file_type": kind.number,
        "quantization_version": QUANTIZATION_VERSION,
    }
    tokens = {
        "tokenizer.ggml.bos_token_id": special.bos,
        "tokenizer.ggml.eos_token_id": special.eos,
        "tokenizer.ggml.eot_token_id": special.eot,
        "tokenizer.ggml.unknown_token_id": special.unknown,
        "tokenizer.ggml.padding_token_id": special.padding,
        "tokenizer.ggml.add_bos_token": special.add_bos,
        "tokenizer.chat_template": special.chat_template,
    }
    return full_metadata(architecture.name, architecture.metadata(config), general, tokens)


def _fallback_notes(kind: FileType, planned: list[Planned]) -> tuple[str, ...]:
    fallen = [t for t in planned if t.type == "F16" and kind.tensor.startswith("Q")]
    if not fallen:
        return ()
    return (f"{len(fallen)} tensors of {kind.name} are f16: their width is not a multiple of 32",)
