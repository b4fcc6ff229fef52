"""The base model: an existing one, or a small one made from scratch by the build."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tuneforge_specs.model import Many, Model, Name, Positive, Rate

DType = Literal["auto", "float32", "bfloat16", "float16"]


class BaseCommon(Model):
    """How the base is held while adapters train on it."""

    quantize: Literal["none", "nf4"] = Field(
        "none", description="Hold the base's linear layers in 4 bits (QLoRA) while adapters train."
    )
    dtype: DType = Field("auto", description="Compute dtype; auto: bfloat16 on CUDA, else float32.")


class ModelBase(BaseCommon):
    """A model folder or a hub id."""

    model: str = Field(min_length=1, description="Folder of the model, or its hub id.")
    revision: str = Field("main", description="Branch, tag or commit of a hub model.")


class Scratch(Model):
    """A small Llama and its byte-level BPE tokenizer, pretrained on the text of ``corpus``."""

    corpus: Annotated[Many[Name], Field(min_length=1, description="Source names.")]
    hidden: Positive = Field(128, description="Width of the residual stream.")
    layers: Positive = Field(4, description="Number of transformer blocks.")
    heads: Positive = Field(4, description="Attention heads; `hidden` divides into them.")
    kv_heads: Positive = Field(4, description="Key and value heads; they divide `heads`.")
    intermediate: Positive = Field(384, description="Width of the feed-forward layers.")
    vocab: Annotated[int, Field(ge=300)] = Field(800, description="Tokens of the BPE tokenizer.")
    context: Positive = Field(1024, description="Longest sequence in tokens.")
    steps: Positive = Field(400, description="Pretraining steps.")
    batch: Positive = Field(24, description="Sequences a step.")
    sequence: Positive = Field(96, description="Tokens of a pretraining sequence.")
    learning_rate: Rate = Field(3e-3, description="Peak learning rate of the pretraining.")


class ScratchBase(BaseCommon):
    """A base that the build makes; a cached step like any other."""

    scratch: Scratch = Field(description="Make a small base from a config and a corpus.")


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return "scratch" if "scratch" in keys else "model"


Base = Annotated[
    Annotated[ModelBase, Tag("model")] | Annotated[ScratchBase, Tag("scratch")],
    Discriminator(_kind),
]
