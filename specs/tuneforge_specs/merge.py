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


class MergeBase(Model):
    """What every merge declares."""

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


class LoraMerge(MergeBase):
    """Fold each adapter into the base in turn, exactly as PEFT does (Hu et al. 2021)."""

    method: Literal["lora"]


class LinearMerge(MergeBase):
    """Weighted average of the inputs' weights: a model soup (Wortsman et al. 2022)."""

    method: Literal["linear"]
    normalize: bool = Field(True, description="Divide by the sum of the weights.")


class TaskVectorMerge(MergeBase):
    """What the methods that add the inputs' deltas to the base share."""

    normalize: bool = Field(False, description="Divide by the weights that took part.")
    scale: float = Field(1.0, alias="lambda", description="Factor of the merged delta.")


class TaskArithmeticMerge(TaskVectorMerge):
    """Base plus the weighted sum of the deltas (Ilharco et al. 2023)."""

    method: Literal["task_arithmetic"]


class TiesMerge(TaskVectorMerge):
    """Trim each delta, elect a sign per element, average what agrees (Yadav et al. 2023)."""

    method: Literal["ties"]
    normalize: bool = Field(True, description="Divide by the weights that took part.")


class DareMerge(TaskVectorMerge):
    """What the methods that drop elements at random share (Yu et al. 2024)."""

    rescale: bool = Field(True, description="Divide what is kept by its chance to be kept.")


class DareLinearMerge(DareMerge):
    """Drop delta elements at random, rescale the rest, add them up (Yu et al. 2024)."""

    method: Literal["dare_linear"]


class DareTiesMerge(DareMerge):
    """Drop delta elements at random, rescale, then elect signs as TIES does."""

    method: Literal["dare_ties"]


class SlerpMerge(MergeBase):
    """Spherical interpolation of two inputs, or of the base and one input (Shoemake 1985)."""

    method: Literal["slerp"]
    inputs: Annotated[Many[MergeInput], Field(min_length=1, max_length=2)] = Field(
        description="One input: from the base to it. Two: from the first to the second."
    )
    t: Fraction = Field(0.5, description="0: the first, 1: the second.")


Merge = Annotated[
    LoraMerge
    | LinearMerge
    | TaskArithmeticMerge
    | TiesMerge
    | DareLinearMerge
    | DareTiesMerge
    | SlerpMerge,
    Field(discriminator="method"),
]
