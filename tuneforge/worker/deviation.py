"""How far a merged model's logits are from those of the model that was trained. Loads torch."""

from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from tuneforge.worker.generate import Held

ROWS: Final = 16
TOKENS: Final = 32  # of each row: 16 rows of a vocabulary of 150,000 then take 300 MB


def logits_of(model: Any, held: "Held") -> list[torch.Tensor]:
    """Return for the first rows the logits [tokens, vocabulary] that foretell supervised tokens."""
    found = []
    for ids, mask in list(zip(held.input_ids, held.loss_mask, strict=True))[:ROWS]:
        places = [n for n, supervised in enumerate(mask[1:]) if supervised][:TOKENS]
        given = torch.tensor([ids[: places[-1] + 1]], device=model.device) if places else None
        if given is None:
            continue
        with torch.inference_mode():
            logits = model(input_ids=given, use_cache=False).logits[0, places]
        found.append(logits.float().cpu())
    return found


def deviation(merged: list[torch.Tensor], trained: list[torch.Tensor]) -> dict[str, Any]:
    """Compare logits: mean and largest absolute difference, and how often the likeliest agrees."""
    total = largest = 0.0
    agreed = tokens = elements = 0
    for ours, theirs in zip(merged, trained, strict=True):
        difference = (ours - theirs).abs()
        total += difference.sum(dtype=torch.float64).item()
        largest = max(largest, difference.max().item())
        agreed += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        tokens += len(ours)
        elements += ours.numel()
    return {
        "rows": len(merged),
        "tokens": tokens,
        "mean": total / max(elements, 1),
        "max": largest,
        "top1": agreed / max(tokens, 1),
    }
