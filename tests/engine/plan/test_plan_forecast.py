"""What a plan says about memory, time, disk and cost."""

import json

import pytest
from tuneforge_specs.base import Scratch
from tuneforge_specs.loader import load

from tuneforge.build.result import BuildOptions
from tuneforge.build.session import build
from tuneforge.console.base import Silent
from tuneforge.device import Device
from tuneforge.plan.builder import make_plan
from tuneforge.plan.forecast import forecast, scratch_config
from tuneforge.plan.foretell import forecast_lines
from tuneforge.workspace import Workspace

CPU = Device("cpu", "a CPU", 8 * 2**30, threads=2)


def foreseen(project, *settings, **options):
    loaded = load(project.spec, settings)
    plan = make_plan(loaded, Workspace.of(project.spec))
    return forecast(plan, loaded.spec, CPU, **options)


def test_a_first_build_knows_memory_but_no_times(project) -> None:
    found = foreseen(project)
    train = found.trains[0]
    assert (train.step, train.backend) == ("train.t", "trl")
    assert train.memory is not None
    assert train.memory.fits
    assert found.seconds == 0
    assert len(found.untimed) == 8


def test_a_budget_too_small_does_not_fit_and_says_so(project) -> None:
    found = foreseen(project, budget=2**20)
    assert found.trains[0].memory is not None
    assert not found.trains[0].memory.fits
    text = "\n".join(forecast_lines(found, nothing_to_do=False))
    assert "does not fit" in text
    assert "a GPU with 1.0 MiB" in text


def test_times_and_cost_come_from_the_last_build(project) -> None:
    project.hooks(train__t=["sleep:0.3"])
    build(load(project.spec), Workspace.of(project.spec), Silent(), BuildOptions())
    project.edit("min = 3", "min = 4")
    found = foreseen(project, price=3600.0)
    assert 0.3 <= found.seconds < 5
    assert found.untimed == ()
    assert found.cost == pytest.approx(found.seconds)
    lines = list(forecast_lines(found, nothing_to_do=False))
    assert any(line.startswith("cost:   ") for line in lines)


def test_a_plan_with_nothing_to_do_forecasts_nothing(project) -> None:
    assert list(forecast_lines(foreseen(project), nothing_to_do=True)) == []


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (None, "checkpoints: every ten minutes"),
        (7, "checkpoints: every 7 steps"),
        (0, "a killed run starts over"),
    ],
)
def test_how_often_it_is_saved_is_said(project, every: int | None, words: str) -> None:
    settings = [] if every is None else [f"train.t.args.checkpoint_every={every}"]
    found = foreseen(project, *settings)
    assert words in "\n".join(forecast_lines(found, nothing_to_do=False))
    expected = "auto" if every is None else every
    assert found.as_json()["train"][0]["checkpoint_every"] == expected


@pytest.mark.parametrize(("context", "warned"), [(512, False), (511, True)])
def test_rows_longer_than_the_base_takes_are_foretold(
    project, tmp_path, context: int, warned: bool
) -> None:
    folder = tmp_path / "own-base"
    folder.mkdir()
    config = scratch_config(Scratch(corpus=("words",))) | {"max_position_embeddings": context}
    (folder / "config.json").write_text(json.dumps(config))
    project.edit('[base.scratch]\ncorpus = ["words"]', f'[base]\nmodel = "{folder}"')
    found = foreseen(project)
    text = "\n".join(forecast_lines(found, nothing_to_do=False))
    assert ("warning: the base takes 511 tokens, template.max_tokens lets 512" in text) == warned
    assert found.as_json()["train"][0].get("context") == (context if warned else None)
