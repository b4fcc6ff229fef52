"""The summary at the end: from artifacts to a value, and to text."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tuneforge_specs.loader import load

from tuneforge.build.result import BuildOptions
from tuneforge.build.session import build
from tuneforge.console.base import Silent
from tuneforge.console.markdown import as_markdown
from tuneforge.console.showing import show
from tuneforge.console.summary import Measured, summarise
from tuneforge.workspace import Workspace


def summary(project):
    loaded = load(project.spec)
    return summarise(loaded, build(loaded, Workspace.of(project.spec), Silent(), BuildOptions()))


def text_of(told) -> str:
    stream = io.StringIO()
    show(told, stream)
    return stream.getvalue()


def test_it_tells_funnel_before_and_after_times_and_places(project) -> None:
    told = summary(project)
    assert [(s.taken, s.dropped, s.left) for s in told.funnels["d"]] == [(5, 0, 5), (5, 2, 3)]
    measured = {m.metric: m for m in told.evaluations[0].measured}
    assert measured["exact-match"] == Measured("exact-match", 0.45, 0.9)
    assert measured["exact-match"].better
    assert measured["loss"].base is None
    assert len(told.steps) == 8
    text = text_of(told)
    for part in ("records read", "length", "-2", "45.0 %", "90.0 %", "exports/x", "8 steps ran"):
        assert part in text, part
    assert "everything of fake is built" in text


def test_a_place_stays_on_one_line_however_deep_the_workspace(project) -> None:
    told = summary(project)
    deep = Path("/a-folder-with-a-long-name" * 8)
    places = tuple(replace(place, path=deep / place.path.name) for place in told.places)
    lines = text_of(replace(told, places=places)).splitlines()
    for place in places:
        assert any(line.endswith(str(place.path)) for line in lines), place


def test_a_failed_gate_is_told_with_what_is_not_built(project) -> None:
    (project.folder / "score").write_text("0.1")
    told = summary(project)
    assert "export.x is not built: gate failed" in text_of(told)
    assert "**failed**" in as_markdown(told)
    assert "## Not built" in as_markdown(told)


def test_samples_are_shown_side_by_side(project, monkeypatch) -> None:
    import sys

    fake = sys.modules["fake_evaluate"]
    measure = fake.run

    def run(context) -> None:
        measure(context)
        row = {"prompt": "2+2|?", "reference": "4", "base_output": "[bold]", "output": "```4"}
        pq.write_table(pa.Table.from_pylist([row] * 3), context.out / "samples.parquet")

    monkeypatch.setattr(fake, "run", run)
    told = summary(project)
    assert len(told.evaluations[0].samples) == 2
    text = text_of(told)
    assert "[bold]" in text
    assert "```4" in text
    assert "tuned:     '''4" in as_markdown(told)


def test_lower_is_better_for_a_loss() -> None:
    assert Measured("loss", 2.0, 1.0).better
    assert not Measured("exact-match", 2.0, 1.0).better
    assert not Measured("loss", None, 1.0).better
