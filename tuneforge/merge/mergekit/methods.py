"""What mergekit's methods are called with, and the keys of ours that mean the same."""

from dataclasses import dataclass, field
from typing import Final, Literal

# No effect on the result: int8_mask saves memory in mergekit only.
IGNORED: Final = frozenset({"int8_mask"})


@dataclass(frozen=True)
class Known:
    """One method. ``numbers`` and ``switches`` map shared parameters to our keys.

    ``base``: `needed` where inputs are deltas onto it; `deltas` where it decides between deltas
    and weights; `input` where it is one input among the others.
    """

    base: Literal["needed", "deltas", "input"]
    inputs: tuple[str, ...] = ()
    numbers: dict[str, str] = field(default_factory=dict)
    switches: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)


_TASK = {"lambda": "lambda"}
_NORMAL = {"normalize": "normalize"}
_TRIMMED = ("weight", "density")
_DARE = _NORMAL | {"rescale": "rescale"}

KNOWN: Final[dict[str, Known]] = {
    "linear": Known("input", ("weight",), switches=_NORMAL),
    "task_arithmetic": Known("needed", ("weight",), _TASK, _NORMAL),
    "ties": Known("needed", _TRIMMED, _TASK, _NORMAL),
    "dare_linear": Known("needed", _TRIMMED, _TASK, _DARE),
    "dare_ties": Known("needed", _TRIMMED, _TASK, _DARE),
    "della": Known("needed", _TRIMMED, _TASK | {"epsilon": "epsilon"}, _DARE),
    "della_linear": Known("needed", _TRIMMED, _TASK | {"epsilon": "epsilon"}, _DARE),
    "breadcrumbs": Known("needed", _TRIMMED, _TASK | {"gamma": "gamma"}, _NORMAL),
    "breadcrumbs_ties": Known("needed", _TRIMMED, _TASK | {"gamma": "gamma"}, _NORMAL),
    "slerp": Known("needed", (), {"t": "t"}),
    "nuslerp": Known("deltas", ("weight",), switches={"nuslerp_flatten": "rows"}),
    "multislerp": Known("deltas", ("weight",), switches={"normalize_weights": "normalize"}),
    "karcher": Known("input", (), constants={"max_iter": "iterations", "tol": "tolerance"}),
    "model_stock": Known("needed", (), switches={"filter_wise": "rows"}),
    "sce": Known("needed", (), {"select_topk": "select"}),
    "nearswap": Known("needed", (), {"t": "t"}),
    "arcee_fusion": Known("needed"),
    "passthrough": Known("input", ("scale",)),
}
