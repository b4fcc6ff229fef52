"""Job "soup": which inputs of a greedy soup stay in, by what their averages score. Loads torch.

Each average is merged as the merge itself would be, measured as an evaluation measures a model, and
removed. Scores are kept in ``checkpoints``, so that a job that was killed goes on where it was.
Writes ``soup.json``: the trials, in order.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from pydantic import TypeAdapter
from tokenizers import Tokenizer
from tuneforge_specs.evaluate import Metric
from tuneforge_specs.gates import metric_name
from tuneforge_specs.merge import GreedySoupMerge

from tuneforge.evaluate.metrics import LOSS, LOWER_IS_BETTER, scorer
from tuneforge.merge.execute import merge_into
from tuneforge.merge.resolve import InputFolder
from tuneforge.merge.soup import greedy, subset
from tuneforge.worker.generate import Progress, answer, load, loss, read
from tuneforge.worker.run import WorkerRun
from tuneforge.worker.train import prepare

RESULT: Final = "soup.json"


def soup(job: dict[str, Any], run: WorkerRun) -> None:
    """Try the inputs of the job's merge."""
    run.phase("loading libraries")
    prepare(job)
    cook = _Cook(job, run)
    found = greedy(len(job["inputs"]), cook.score, lower=cook.lower)
    trials = [asdict(trial) for trial in found]
    (run.output / RESULT).write_text(json.dumps(trials, indent=1))
    run.summary.update(rows=len(cook.held.record_id), averages=len(cook.scores))


class _Cook:
    """Merges some of the inputs and measures the result; remembers every score."""

    def __init__(self, job: dict[str, Any], run: WorkerRun) -> None:
        self._job, self._run = job, run
        self._metric: Metric = TypeAdapter(Metric).validate_python(job["metric"], by_alias=True)
        self._spec = GreedySoupMerge.model_validate(job["merge"], by_alias=True)
        self._inputs = [
            InputFolder(**{**entry, "folder": Path(entry["folder"])}) for entry in job["inputs"]
        ]
        self.held = read(Path(job["rows_file"]), job["rows"])
        self.lower = metric_name(self._metric) in LOWER_IS_BETTER
        self._file = run.checkpoints / "scores.json"
        known = json.loads(self._file.read_text()) if self._file.is_file() else {}
        self.scores: dict[str, float] = known
        averages = 2 * len(self._inputs) - 1
        self._progress = Progress(run, averages * len(self.held.record_id))
        for _ in known:
            self._progress(len(self.held.record_id))

    def score(self, places: tuple[int, ...]) -> float:
        """Return what the average of some inputs scores, rounded as in a report."""
        key = ",".join(map(str, places))
        if key not in self.scores:
            names = ", ".join(self._inputs[place].label for place in places)
            self._run.phase(f"measuring {names}")
            self.scores[key] = round(self._measure(self._merged(places)), 6)
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps(self.scores))
            partial.replace(self._file)
            name = metric_name(self._metric)
            self._run.log(f"{names}: {name} {self.scores[key]:.6g}")
        return self.scores[key]

    def _merged(self, places: tuple[int, ...]) -> Path:
        folder = self._run.checkpoints / "average"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        base = self._job["base"]
        merge_into(
            folder,
            base=Path(base["folder"]),
            base_facts=base["facts"],
            base_dtype=base["dtype"],
            spec=subset(self._spec, places),
            inputs=[self._inputs[place] for place in places],
            seed=self._job["seed"],
            threads=self._job["threads"],
            progress=lambda done, total: None,  # noqa: ARG005 - rows measured are what counts
        )
        return folder

    def _measure(self, folder: Path) -> float:
        job = self._job
        described = {
            "path": folder, "adapter": "", "quantize": "none", "dtype": job["compute"]
        }  # fmt: skip
        model = load(described, job["device"])
        if self._metric == LOSS:
            found = loss(model, self.held, job["batch"], job["pad"], self._progress)
        else:
            answers = answer(model, self.held.prompt_ids, job, self._progress)
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            texts = tokenizer.decode_batch(answers.ids)
            judge = scorer(self._metric)
            scores = [judge(*pair) for pair in zip(texts, self._references(), strict=True)]
            found = sum(scores) / len(scores)
        del model
        shutil.rmtree(folder)
        return found

    def _references(self) -> list[str]:
        rows = pq.read_table(self._job["rows_file"], columns=["reference"])["reference"]
        return [text or "" for text in rows.to_pylist()[: len(self.held.record_id)]]
