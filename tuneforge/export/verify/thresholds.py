"""How far the logits of each quantisation may be from the source's.

Figures are means over probe positions, in units that do not depend on the model's scale:
``relative_error`` is the RMS error over the spread (standard deviation) of a position's logits,
``clear_top1`` the share of same best tokens where the source's best leads by a tenth of that
spread. They catch a wrong model, not a poor one: a wrong permutation, norm or head is at 0.5 and
beyond in f32. docs/export.md has the measurements they were set from.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """The largest error and the smallest agreement."""

    relative_error: float
    clear_top1: float


THRESHOLDS = {
    "f32": Threshold(1e-3, 1.0),
    "f16": Threshold(0.02, 0.99),
    "bf16": Threshold(0.05, 0.97),
    "q8_0": Threshold(0.12, 0.95),
    "q5_0": Threshold(0.45, 0.6),
    "q4_0": Threshold(0.7, 0.4),
    "int8": Threshold(0.25, 0.85),
    "nf4": Threshold(0.7, 0.4),
    "q6_k": Threshold(0.25, 0.85),
    "q5_k_m": Threshold(0.45, 0.6),
    "q5_k_s": Threshold(0.45, 0.6),
    "q4_k_m": Threshold(0.7, 0.4),
    "q4_k_s": Threshold(0.7, 0.4),
    "q3_k_m": Threshold(0.9, 0.15),
}
# What computing in bfloat16 adds, where the model is too large for float32 on this machine.
BFLOAT16_ERROR = 0.05


def within(
    kind: str, measured: dict[str, float], dtype: str, reader_error: float = 0.0
) -> tuple[bool, str]:
    """Return whether measured logits are within the type's threshold, and say the figures.

    ``reader_error`` is what the reader's own arithmetic may add.
    """
    threshold = THRESHOLDS[kind]
    slack = reader_error + (BFLOAT16_ERROR if dtype == "bfloat16" else 0.0)
    largest = threshold.relative_error + slack
    least = min(threshold.clear_top1, 1.0 - slack)
    passed = measured["relative_error"] <= largest and measured["clear_top1"] >= least
    return passed, (
        f"top-1 {measured['top1']:.1%} of {measured['positions']:.0f} positions"
        f" ({measured['clear_top1']:.1%} of the clear ones, at least {least:.0%}),"
        f" error {measured['relative_error']:.3g} of the logits' spread (at most {largest:g}),"
        f" mean {measured['mean_error']:.3g}, max {measured['max_error']:.3g}"
    )
