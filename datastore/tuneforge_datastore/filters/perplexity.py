"""Perplexity of a text under the base model; see ``tuneforge_datastore.scoring``."""

import math

from tuneforge_specs.filters import PerplexityFilter

from tuneforge_datastore.filters import Pass, Setting
from tuneforge_datastore.ledger import Ledger

_LARGEST = 700.0  # exp of more is no float


def check(spec: PerplexityFilter) -> Pass:
    """Keep between ``min`` and ``max``; the score is the perplexity."""
    return Pass("perplexity", lambda setting, ledger: _run(spec, setting, ledger))


def _run(spec: PerplexityFilter, setting: Setting, ledger: Ledger) -> None:
    from tuneforge_datastore.basemodel import Asked
    from tuneforge_datastore.scoring import judge_losses, losses

    asked = [Asked("", text) for text in ledger.rows.texts(spec.of).to_pylist()]
    scores = [
        None if one.alone is None else math.exp(min(one.alone, _LARGEST))
        for one in losses(setting, spec, asked)
    ]
    numbers = ledger.rows.numbers().tolist()
    judge_losses(setting, ledger, "perplexity", numbers, scores, (spec.min, spec.max))
