"""Merge plans: adapters and models combined into one set of weights."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tuneforge_specs.model import Fraction, Many, Model, Name


class InputBase(Model):
    """How much one input counts."""

    weight: float = Field(1.0, description="Factor of this input.")
    density: Fraction = Field(1.0, description="Share of the delta kept, for trimming methods.")


class TrainInput(InputBase):
    """The result of a train step."""

    train: Name = Field(description="Name of a train step.")


class ModelInput(InputBase):
    """A folder of full weights (safetensors)."""

    model: str = Field(min_length=1, description="Folder of a model.")


class AdapterInput(InputBase):
    """A PEFT adapter folder."""

    adapter: str = Field(min_length=1, description="Folder of a PEFT adapter.")


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return next((kind for kind in ("model", "adapter") if kind in keys), "train")


MergeInput = Annotated[
    Annotated[TrainInput, Tag("train")]
    | Annotated[ModelInput, Tag("model")]
    | Annotated[AdapterInput, Tag("adapter")],
    Discriminator(_kind),
]


class Merge(Model):
    """One merge. ``lora`` folds each adapter into the base in turn, exactly as PEFT does."""

    method: Literal["lora", "linear", "task_arithmetic", "ties"] = Field(
        description="How the inputs are combined."
    )
    inputs: Annotated[Many[MergeInput], Field(min_length=1)] = Field(
        description="Train steps, model folders and adapter folders, in order."
    )
    onto: Literal["auto", "dequantised", "original"] = Field(
        "auto",
        description="Which base weights deltas are added to; auto: what the adapter trained on.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the result; auto: the base's."
    )
    shard_size: str = Field(
        "5GB",
        pattern=r"^\d+(\.\d+)?\s*(MB|GB|MiB|GiB)$",
        description="Largest size of one safetensors file.",
    )
