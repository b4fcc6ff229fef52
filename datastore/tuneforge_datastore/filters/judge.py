"""Scores by a model behind an OpenAI-compatible endpoint; see ``tuneforge_datastore.judging``."""

import pyarrow as pa
from tuneforge_specs.filters import JudgeFilter

from tuneforge_datastore.filters import Pass, Setting
from tuneforge_datastore.judging import Judge, Judgement
from tuneforge_datastore.ledger import Ledger, drops


def check(spec: JudgeFilter) -> Pass:
    """Drop what scores below ``min``, or gets no score; note the others' scores."""
    return Pass("judge", lambda setting, ledger: _run(spec, setting, ledger))


def _run(spec: JudgeFilter, setting: Setting, ledger: Ledger) -> None:
    rows = ledger.rows
    judge = Judge(spec, setting.folders.cache / "judge", setting.place)
    found: list[tuple[int, Judgement]] = []
    judge.expect(int(rows.alive.sum()))
    for source in rows.sources:
        for at, batch in source.pieces(["prompt", "completion"]):
            places = rows.alive[at : at + len(batch)].nonzero()[0]
            texts = batch.take(pa.array(places)).to_pylist()
            judged = judge.all([(text["prompt"], text["completion"]) for text in texts])
            found += zip((at + places).tolist(), judged, strict=True)
    low = [(row, one) for row, one in found if one.score is None or one.score < spec.min]
    fine = [(row, one) for row, one in found if one.score is not None and one.score >= spec.min]
    ledger.record(setting.stage, "judge", _table(low, f", below {spec.min:g}"))
    ledger.note(setting.stage, "judge", _table(fine, ""), "judged")


def _table(found: list[tuple[int, Judgement]], behind: str) -> pa.Table:
    return drops(
        [row for row, _ in found],
        pa.array(
            [
                "the judge gave no score" if one.score is None else f"scored {one.score:g}{behind}"
                for _, one in found
            ],
            pa.string(),
        ),
        pa.array([one.score for _, one in found], pa.float64()),
        evidence=pa.array([one.reason for _, one in found], pa.string()),
    )
