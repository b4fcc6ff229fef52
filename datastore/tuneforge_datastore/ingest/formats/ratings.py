"""Several rated answers to a prompt, as in UltraFeedback and Nectar: the best against the worst."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import isnan
from typing import Any

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.completion import side
from tuneforge_datastore.ingest.formats.preference import pair
from tuneforge_datastore.ingest.rows import RowError, Unusable, as_text
from tuneforge_datastore.records import Message, Record

_PROMPTS = ("prompt", "instruction", "question", "query")
_ANSWERS = ("completions", "responses", "answers", "generations", "outputs")
_TEXTS = ("response", "completion", "answer", "text", "content", "output")
_SCORES = ("overall_score", "score", "rating", "reward")
_SCORE_LISTS = ("scores", "ratings", "rating", "score", "rewards", "ranks", "rank")


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    prompt = next((name for name in _PROMPTS if name in columns), "")
    answers = next((name for name in _ANSWERS if name in columns), "")
    if not prompt or not answers:
        return ""
    by = set()
    for row in rows:
        with suppress(RowError):
            by.add(_rated(row, answers)[1])
    if not by:
        return ""
    return f"answers in column {answers}, each with its {' or '.join(sorted(by))}"


def _convert(row: Values) -> Record:
    prompt = next((name for name in _PROMPTS if name in row), "")
    answers = next((name for name in _ANSWERS if name in row), "")
    if not prompt or not answers:
        raise missing(row, _ANSWERS[0] if prompt else _PROMPTS[0])
    rated, by = _rated(row, answers)
    best = max(range(len(rated)), key=lambda place: rated[place][1])
    worst = min(range(len(rated)), key=lambda place: rated[place][1])
    if rated[best][1] == rated[worst][1]:
        raise Unusable(f"{len(rated)} answers of one {by}: no pair in them")
    said = side(row[prompt], prompt, "user")
    record = pair(
        said, [Message("assistant", rated[best][0])], [Message("assistant", rated[worst][0])]
    )
    if row.get("system") and not record.system:
        record.messages.insert(0, Message("system", as_text(row["system"])))
    sign = -1 if by == "rank" else 1
    scores = {"score_chosen": sign * rated[best][1], "score_rejected": sign * rated[worst][1]}
    used = frozenset((prompt, answers, "system", *_SCORE_LISTS))
    record.meta = unused(row, used) | scores
    return record


def _rated(row: Values, answers: str) -> tuple[list[tuple[str, float]], str]:
    """Give the answers with their scores, higher is better, and what the score is called."""
    given = row.get(answers)
    if not isinstance(given, list) or not given:
        raise RowError(f"{answers} must be a list of answers")
    if all(isinstance(one, dict) for one in given):
        return _rated_objects(given, answers)
    name = next((name for name in _SCORE_LISTS if isinstance(row.get(name), list)), "")
    if not name:
        raise RowError(f"no list of scores beside {answers} (known: {', '.join(_SCORE_LISTS)})")
    if len(row[name]) != len(given):
        raise RowError(f"{len(given)} {answers} but {len(row[name])} {name}")
    sign = -1 if name in ("ranks", "rank") else 1
    scores = [_number(score, name) for score in row[name]]
    both = zip(map(as_text, given), scores, strict=True)
    rated = [(text, sign * score) for text, score in both if not isnan(score)]
    return _some(rated, name), "rank" if sign < 0 else "score"


def _rated_objects(given: list[Any], answers: str) -> tuple[list[tuple[str, float]], str]:
    text = next((name for name in _TEXTS if all(name in one for one in given)), "")
    by = next((name for name in (*_SCORES, "rank") if all(name in one for one in given)), "")
    if not text or not by:
        raise RowError(
            f"{answers}: each needs one of {', '.join(_TEXTS)} "
            f"and one of {', '.join(_SCORES)}, rank"
        )
    rated = list(_pairs(given, text, by))
    return _some(rated, answers), "rank" if by == "rank" else "score"


def _pairs(given: list[Any], text: str, by: str) -> Iterator[tuple[str, float]]:
    for one in given:
        score = _number(one[by], by)
        if not isnan(score):
            yield as_text(one[text]), -score if by == "rank" else score


def _some(rated: list[tuple[str, float]], name: str) -> list[tuple[str, float]]:
    if not rated:
        raise Unusable(f"{name}: no answer has a score")
    return rated


def _number(value: Any, name: str) -> float:
    """Take a score; what was not rated ("N/A", null) is NaN."""
    if value is None or str(value).strip().upper() in ("", "N/A", "NAN"):
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RowError(f"{name}: {as_text(value)[:40]!r} is no number") from None


RATINGS = Format("ratings", _fits, _convert)
