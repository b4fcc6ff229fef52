"""The base model: an existing one, or a small one made from scratch by the build."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tuneforge_specs.model import Many, Model, Name, Positive, Rate

DType = Literal["auto", "float32", "bfloat16", "float16"]


class BaseCommon(Model):
    """How the base is held while adapters train on it."""

    quantize: Literal["none", "nf4"] = "none"
    dtype: DType = Field("auto", description="Compute dtype; auto: bfloat16 on CUDA, else float32.")


class ModelBase(BaseCommon):
    """A model folder or a hub id."""

    model: str = Field(min_length=1)
    revision: str = "main"


class Scratch(Model):
    """A small Llama and its byte-level BPE tokenizer, pretrained on the text of ``corpus``."""

    corpus: Annotated[Many[Name], Field(min_length=1, description="Source names.")]
    hidden: Positive = 128
    layers: Positive = 4
    heads: Positive = 4
    kv_heads: Positive = 4
    intermediate: Positive = 384
    vocab: Annotated[int, Field(ge=300)] = 800
    context: Positive = 512
    steps: Positive = 400
    batch: Positive = 24
    sequence: Positive = 96
    learning_rate: Rate = 3e-3


class ScratchBase(BaseCommon):
    """A base that the build makes; a cached step like any other."""

    scratch: Scratch


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return "scratch" if "scratch" in keys else "model"


Base = Annotated[
    Annotated[ModelBase, Tag("model")] | Annotated[ScratchBase, Tag("scratch")],
    Discriminator(_kind),
]
