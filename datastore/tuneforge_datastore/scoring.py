"""Losses under the base model, kept on disk by content: a record goes through the base once."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tuneforge_specs.filters import Scored

from tuneforge_datastore.basemodel import Asked, Loss, required
from tuneforge_datastore.filters import Setting
from tuneforge_datastore.ledger import Ledger, drops

# What is asked for at once: what is kept when a build stops in between.
TOGETHER = 10_000
_KEPT = pa.schema(
    [
        ("name", pa.string()),
        ("conditioned", pa.float64()),
        ("alone", pa.float64()),
        ("tokens", pa.int64()),
    ]
)


def losses(setting: Setting, spec: Scored, asked: Sequence[Asked]) -> list[Loss]:
    """Give the losses of texts, in order; only those not yet known go through the base.

    Raises:
        UsageError: the curation was started without a base.
    """
    base = required(setting.folders.base, setting.place)
    about = hashlib.sha256(json.dumps([1, base.identity, spec.max_tokens]).encode()).hexdigest()
    file = setting.folders.cache / "losses" / f"{about[:32]}.parquet"
    known = _read(file)
    names = [_name(one) for one in asked]
    missing = {name: one for name, one in zip(names, asked, strict=True) if name not in known}
    for some in _portions(list(missing)):
        found = base.score([missing[name] for name in some], spec, setting.place)
        known |= dict(zip(some, found, strict=True))
        _write(file, known)
    return [known[name] for name in names]


def judge_losses(
    setting: Setting,
    ledger: Ledger,
    what: str,
    rows: Sequence[int],
    scores: Sequence[float | None],
    bounds: tuple[float, float],
) -> None:
    """Drop the rows whose score is out of bounds; note the others' scores.

    A row without a score stays: there was too little to score. Scores have four digits, as
    further ones depend on the machine.
    """
    least, most = bounds
    low: list[tuple[int, float | None, str]] = []
    fine: list[tuple[int, float | None, str]] = []
    for row, exact in zip(rows, scores, strict=True):
        if exact is None:
            fine.append((row, None, f"too short for its {what}"))
            continue
        score = float(f"{exact:.4g}")
        told = f"{what} {score:g}"
        if score < least:
            low.append((row, score, f"{told}, below {least:g}"))
        elif score > most:
            low.append((row, score, f"{told}, above {most:g}"))
        else:
            fine.append((row, score, told))
    ledger.record(setting.stage, what, _table(low))
    ledger.note(setting.stage, what, _table(fine), "scored")


def _table(found: list[tuple[int, float | None, str]]) -> pa.Table:
    rows, scores, reasons = ([one[place] for one in found] for place in range(3))
    return drops(rows, pa.array(reasons, pa.string()), pa.array(scores, pa.float64()))


def _name(asked: Asked) -> str:
    text = json.dumps(asked).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _portions(names: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(names), TOGETHER):
        yield names[begin : begin + TOGETHER]


def _read(file: Path) -> dict[str, Loss]:
    try:
        columns = pq.read_table(file, schema=_KEPT).to_pydict()
    except (FileNotFoundError, pa.ArrowInvalid):  # none yet, or damaged: computed anew
        return {}
    values = (columns[name] for name in _KEPT.names[1:])
    return dict(zip(columns["name"], map(Loss, *values), strict=True))


def _write(file: Path, known: dict[str, Loss]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"name": name, **one._asdict()} for name, one in known.items()]
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    pq.write_table(pa.Table.from_pylist(rows, _KEPT), draft, compression="zstd")
    draft.replace(file)
