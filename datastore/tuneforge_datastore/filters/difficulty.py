"""Instruction-following difficulty under the base model; see ``tuneforge_datastore.scoring``."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from tuneforge_specs.filters import DifficultyFilter

from tuneforge_datastore.filters import Pass, Setting
from tuneforge_datastore.ledger import Ledger

_READ = ["kind", "messages", "completion"]


def check(spec: DifficultyFilter) -> Pass:
    """Keep between ``min`` and ``max``; the score is the answer's loss after the prompt over
    that without it.
    """
    return Pass("difficulty", lambda setting, ledger: _run(spec, setting, ledger))


def _run(spec: DifficultyFilter, setting: Setting, ledger: Ledger) -> None:
    from tuneforge_datastore.basemodel import Asked, Loss
    from tuneforge_datastore.scoring import judge_losses, losses

    found = [(row, context, text) for row, context, text in _exchanges(ledger) if context and text]
    known = losses(setting, spec, [Asked(context, text) for _, context, text in found])

    def score(one: Loss) -> float | None:
        return one.conditioned / one.alone if one.conditioned is not None and one.alone else None

    scores = dict(zip((row for row, _, _ in found), map(score, known), strict=True))
    numbers = ledger.rows.numbers().tolist()
    asked = [scores.get(row) for row in numbers]
    judge_losses(setting, ledger, "difficulty", numbers, asked, (spec.min, spec.max))


def _exchanges(ledger: Ledger) -> Iterator[tuple[int, str, str]]:
    """Give the rows alive: all turns before the last answer, and that answer."""
    for source in ledger.rows.sources:
        for at, batch in source.pieces(_READ):
            places = ledger.rows.alive[at : at + len(batch)].nonzero()[0]
            for place, row in zip(places, batch.take(pa.array(places)).to_pylist(), strict=True):
                yield at + int(place), _before_answer(row), row["completion"]


def _before_answer(row: dict[str, Any]) -> str:
    turns = row["messages"]
    end = len(turns)
    if row["kind"] != "preference":
        answers = [n for n, turn in enumerate(turns) if turn["role"] == "assistant"]
        end = answers[-1] if answers else 0
    texts = (turn["content"] or turn["tool_calls"] for turn in turns[:end])
    return "\n\n".join(text for text in texts if text)
