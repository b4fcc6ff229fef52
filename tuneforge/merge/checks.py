"""What a merge refuses before any weight is read: models that differ, numbers that cannot be."""

from typing import TYPE_CHECKING

from tuneforge_specs.errors import DataError
from tuneforge_specs.merge import DellaLinearMerge, DellaMerge, LinearMerge, ModelMerge

from tuneforge.merge.model import Model
from tuneforge.weights.dtypes import MERGEABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuneforge.merge.plan import TensorPlan


def check_same(base: Model, model: Model, aligned: frozenset[str] = frozenset()) -> None:
    """Refuse a full model whose tensors are not the base's, one by one.

    Tensors that are ``aligned`` may have another number of rows.
    """
    theirs, ours = model.config.get("model_type"), base.config.get("model_type")
    if theirs != ours:
        raise DataError(
            f"{model.folder}: a {theirs} model, the base {base.folder} is {ours}",
            "merge models of one architecture",
        )
    for name, info in base.weights.items():
        found = model.find(name)
        if not found:
            raise DataError(
                f"{model.folder}: has no {name}, which {base.folder} has",
                "merge models of one architecture, with the same tied embeddings",
            )
        other = model.weights[found]
        skip = 1 if name in aligned else 0
        if other.shape[skip:] != info.shape[skip:]:
            vocabulary = name == base.embedding or base.is_head(name)
            words = vocabulary and other.shape[1:] == info.shape[1:]
            what = " (another vocabulary)" if words else ""
            fix = "merge models of one architecture and vocabulary"
            if words:
                fix = 'align the tokens: tokenizer = "union", "base", or the label of an input'
            raise DataError(
                f"{model.folder}: {name} has shape {other.shape}, the base has {info.shape}{what}",
                fix,
            )
        if other.dtype.startswith("F8"):
            raise DataError(
                f"{model.folder}: {name} is {other.dtype}, quantised without its scale",
                "convert it to bfloat16 with the library that quantised it",
            )
        if (other.dtype in MERGEABLE) != (info.dtype in MERGEABLE):
            raise DataError(
                f"{model.folder}: {name} is {other.dtype}, the base has {info.dtype}",
                "convert one of them",
            )
    matched = {model.find(name) for name in base.weights}
    surplus = next((name for name in model.weights if name not in matched), None)
    if surplus is not None:
        raise DataError(
            f"{model.folder}: has {surplus}, which {base.folder} does not have",
            "merge models of one architecture, with the same tied embeddings",
        )


def check_numbers(tensors: "Sequence[TensorPlan]", spec: ModelMerge) -> None:
    """Refuse averages that would divide by zero somewhere, and chances outside of 0 to 1."""
    if isinstance(spec, DellaMerge | DellaLinearMerge):
        _check_chances(tensors, spec)
    if not isinstance(spec, LinearMerge) or not spec.normalize:
        return
    for tensor in tensors:
        if tensor.action != "linear":
            continue
        if not sum(source.weight_at(tensor.place) for source in tensor.sources):
            raise DataError(
                f"linear: the weights sum to 0 at {tensor.name}",
                "give a filter's other tensors a weight too, or set normalize = false",
            )


def _check_chances(tensors: "Sequence[TensorPlan]", spec: DellaMerge | DellaLinearMerge) -> None:
    """Refuse chances to be kept that leave 0 to 1 in some tensor."""
    default = type(spec).model_fields["epsilon"].default
    for tensor in tensors:
        epsilon = tensor.place.value(spec.epsilon, default)
        for source in tensor.sources if tensor.action == spec.method else ():
            density = source.density_at(tensor.place)
            if 0.0 < density < 1.0 and not epsilon < density < 1.0 - epsilon:
                raise DataError(
                    f"{source.label}: {tensor.name} has density {density:g} +/- epsilon "
                    f"{epsilon:g}, which leaves 0 to 1",
                    "lower epsilon there, or set density to 0 or 1",
                )
