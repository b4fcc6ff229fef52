"""Merge plans: adapters and models combined into one set of weights."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from tuneforge_specs.model import Count, Many, Model, Name, Positive, Rate
from tuneforge_specs.settings import Setting, Share, Varied, covers_all, values_of
from tuneforge_specs.vocabulary import MergeTokenizer


class InputBase(Model):
    """How much one input counts."""

    weight: Setting = Field(
        1.0, description="Factor of this input: a number, a list over the layers, or by name."
    )
    density: Share = Field(
        1.0, description="Share of the delta kept, for trimming methods; may vary like `weight`."
    )


class TrainInput(InputBase):
    """The result of a train step."""

    train: Name = Field(description="Name of a train step.")


class MergedInput(InputBase):
    """The result of another merge of this spec."""

    merge: Name = Field(description="Name of a merge.")


class ModelInput(InputBase):
    """A folder of full weights (safetensors)."""

    model: str = Field(min_length=1, description="Folder of a model.")


class AdapterInput(InputBase):
    """A PEFT adapter folder."""

    adapter: str = Field(min_length=1, description="Folder of a PEFT adapter.")


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return next((kind for kind in ("model", "adapter", "merge") if kind in keys), "train")


MergeInput = Annotated[
    Annotated[TrainInput, Tag("train")]
    | Annotated[MergedInput, Tag("merge")]
    | Annotated[ModelInput, Tag("model")]
    | Annotated[AdapterInput, Tag("adapter")],
    Discriminator(_kind),
]


OneInput = Annotated[
    Many[MergeInput],
    Field(min_length=1, max_length=1, description="The one input that is brought to the base."),
]
Epsilon = Annotated[
    Setting,
    Field(description="How far the chance to be kept spreads around `density`; may vary."),
]
DellaT = TypeVar("DellaT", bound="DareMerge")
Gamma = Annotated[Share, Field(description="Share of the largest elements that is dropped.")]


class MergeCommon(Model):
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


class MergeBase(MergeCommon):
    """What a merge into a model declares."""

    tokenizer: str | MergeTokenizer = Field(
        "auto",
        description="For different vocabularies: `union`, `base` or an input's label; "
        "auto: they are the same.",
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


class GreedySoupMerge(MergeBase):
    """Average the inputs that do not worsen a held-out score, best first (Wortsman et al. 2022)."""

    method: Literal["greedy_soup"]
    inputs: Annotated[Many[MergeInput], Field(min_length=2)] = Field(
        description="The ingredients: tuned models or adapters, two or more."
    )
    evaluate: Name = Field(description="Evaluation whose rows decide about each ingredient.")
    metric: str = Field("", description="Its metric that decides; left out: its first.")


class TaskVectorMerge(MergeBase):
    """What the methods that add the inputs' deltas to the base share."""

    normalize: bool = Field(False, description="Divide by the weights that took part.")
    scale: Setting = Field(1.0, alias="lambda", description="Factor of the merged delta.")


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
    t: Share = Field(0.5, description="0: the first, 1: the second; may vary like `weight`.")


def _spread(merge: DellaT, epsilon: Varied) -> DellaT:
    """Refuse densities around which the chances to be kept would leave 0 to 1.

    Where ``epsilon`` varies, what it meets in a tensor is known to the plan of the merge only.
    """
    if not all(0.0 < number < 0.5 for number in values_of(epsilon)):
        raise ValueError("epsilon: must be above 0 and below 0.5")
    if not isinstance(epsilon, float):
        return merge
    for index, item in enumerate(merge.inputs):
        # Between the numbers of a list anything may come up, so 0 and 1 are no exceptions there.
        varied = isinstance(item.density, tuple)
        for density in values_of(item.density):
            inside = varied or 0.0 < density < 1.0
            if inside and not epsilon < density < 1.0 - epsilon:
                raise ValueError(
                    f"density of input {index}: {density} +/- epsilon ({epsilon}) leaves 0 to 1"
                )
    return merge


class DellaMerge(DareMerge):
    """Drop delta elements at random, small ones likelier (Deep et al. 2024), then elect signs."""

    method: Literal["della"]
    normalize: bool = Field(True, description="Divide by the weights that took part.")
    epsilon: Epsilon = 0.15

    @model_validator(mode="after")
    def _chances(self) -> Self:
        return _spread(self, self.epsilon)


class DellaLinearMerge(DareMerge):
    """DELLA's dropping (Deep et al. 2024) without its election of signs."""

    method: Literal["della_linear"]
    epsilon: Epsilon = 0.15

    @model_validator(mode="after")
    def _chances(self) -> Self:
        return _spread(self, self.epsilon)


class BreadcrumbsMerge(TaskVectorMerge):
    """Drop the largest and the smallest delta elements, add the rest (Davari et al. 2024)."""

    method: Literal["breadcrumbs"]
    gamma: Gamma = 0.01


class BreadcrumbsTiesMerge(TaskVectorMerge):
    """Breadcrumbs' trimming, then TIES' election of signs."""

    method: Literal["breadcrumbs_ties"]
    gamma: Gamma = 0.01


class NuslerpMerge(MergeBase):
    """Spherical interpolation of two deltas, or of two sets of weights, by relative weight."""

    method: Literal["nuslerp"]
    inputs: Annotated[Many[MergeInput], Field(min_length=2, max_length=2)] = Field(
        description="The two ends of the arc."
    )
    of: Literal["deltas", "weights"] = Field("deltas", description="What is interpolated.")
    rows: bool = Field(False, description="An arc for each row instead of one for the tensor.")


class MultislerpMerge(MergeBase):
    """Weighted mean on the sphere of several deltas, through one tangent space (Goddard 2025)."""

    method: Literal["multislerp"]
    of: Literal["deltas", "weights"] = Field("deltas", description="What is averaged.")
    normalize: bool = Field(True, description="Scale the weights to a sum of 1.")


class KarcherMerge(MergeBase):
    """Riemannian centre of mass of the inputs' weights on the sphere, found iteratively."""

    method: Literal["karcher"]
    iterations: Positive = Field(10, description="Steps at most.")
    tolerance: Rate = Field(1e-5, description="Stop when a step is shorter than this angle.")


class ModelStockMerge(MergeBase):
    """Interpolate base and average by the angle between the deltas (Jang et al. 2024)."""

    method: Literal["model_stock"]
    inputs: Annotated[Many[MergeInput], Field(min_length=2)] = Field(
        description="Models tuned from the base, two or more."
    )
    rows: bool = Field(False, description="An angle for each row instead of one for the tensor.")


class SceMerge(MergeBase):
    """Select by variance, weigh by energy, erase minority signs (Wan et al. 2024)."""

    method: Literal["sce"]
    select: Share = Field(
        1.0, description="Share kept of the elements whose deltas vary between the inputs."
    )


class NearswapMerge(MergeBase):
    """Move each weight towards the input's by at most ``t`` (alchemonaut 2024)."""

    method: Literal["nearswap"]
    inputs: OneInput
    t: Setting = Field(description="The furthest a weight moves; may vary like `weight`.")

    @model_validator(mode="after")
    def _reach(self) -> Self:
        if not covers_all(self.t):
            raise ValueError("t: the other tensors need a { value = ... } too")
        if min(values_of(self.t)) <= 0.0:
            raise ValueError("t: must be above 0")
        return self


class ArceeFusionMerge(MergeBase):
    """Take over the input's weights where their importance stands out (Arcee AI 2025)."""

    method: Literal["arcee_fusion"]
    inputs: OneInput


class Slice(Model):
    """A run of layers taken from one input."""

    input: Count = Field(description="Which of `inputs`, counted from 0.")
    layers: Annotated[Many[Count], Field(min_length=2, max_length=2)] = Field(
        description="First layer, and the one after the last."
    )
    scale: Setting = Field(1.0, description="Factor of these layers' weights; may vary.")


class PassthroughMerge(MergeBase):
    """Stack layers of the inputs, unchanged; all outside of layers is the base's."""

    method: Literal["passthrough"]
    slices: Annotated[Many[Slice], Field(min_length=1)] = Field(
        description="Runs of layers, from the bottom up."
    )

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        for index, part in enumerate(self.slices):
            if part.input >= len(self.inputs):
                raise ValueError(f"slice {index}: there is no input {part.input}")
            if part.layers[0] >= part.layers[1]:
                raise ValueError(f"slice {index}: layers {list(part.layers)} are none")
        return self


class AdapterMerge(MergeCommon):
    """What merges share whose result is an adapter."""

    onto: Literal["auto", "dequantised", "original"] = Field(
        "auto",
        description="Which base weights the result belongs on; auto: what its inputs trained on.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of the factors; auto: float32, as PEFT computes."
    )


class LoraCatMerge(AdapterMerge):
    """Several LoRAs as one, exactly: their factors side by side, the rank the sum of the ranks."""

    method: Literal["lora_cat"]


class LoraSvdMerge(AdapterMerge):
    """Several LoRAs as one of a chosen rank: the best approximation of their summed deltas."""

    method: Literal["lora_svd"]
    rank: Positive = Field(description="Rank of the result; lower where a matrix is smaller.")


class LoraExtractMerge(AdapterMerge):
    """The difference of a full fine-tune from its base as a LoRA."""

    method: Literal["lora_extract"]
    inputs: OneInput
    rank: Positive = Field(description="Rank of the result; lower where a matrix is smaller.")


ModelMerge = (
    LoraMerge
    | LinearMerge
    | GreedySoupMerge
    | TaskArithmeticMerge
    | TiesMerge
    | DareLinearMerge
    | DareTiesMerge
    | SlerpMerge
    | DellaMerge
    | DellaLinearMerge
    | BreadcrumbsMerge
    | BreadcrumbsTiesMerge
    | NuslerpMerge
    | MultislerpMerge
    | KarcherMerge
    | ModelStockMerge
    | SceMerge
    | NearswapMerge
    | ArceeFusionMerge
    | PassthroughMerge
)
Merge = Annotated[
    ModelMerge | LoraCatMerge | LoraSvdMerge | LoraExtractMerge,
    Field(discriminator="method"),
]
