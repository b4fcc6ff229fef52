"""What would fail after hours is said before anything runs."""

import pytest
from tuneforge_specs.errors import EnvironmentMissing
from tuneforge_specs.loader import load

from tuneforge.build import preflight
from tuneforge.plan.builder import make_plan
from tuneforge.workspace import Workspace


def plan(project):
    loaded = load(project.spec)
    return make_plan(loaded, Workspace.of(project.spec)), loaded.spec


def test_missing_packages_name_the_step_and_the_command(project, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "installed", lambda package: package != "peft")
    with pytest.raises(EnvironmentMissing, match=r"train\.t needs packages .*: peft") as caught:
        preflight.check(*plan(project))
    assert caught.value.fix == 'pip install "tuneforge[train]"'


def test_bitsandbytes_is_needed_for_a_quantised_base_only(project, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "installed", lambda package: package != "bitsandbytes")
    preflight.check(*plan(project))
    project.edit("[base.scratch]", '[base]\nquantize = "nf4"\n[base.scratch]')
    with pytest.raises(EnvironmentMissing, match="bitsandbytes"):
        preflight.check(*plan(project))


def test_what_is_cached_needs_nothing(project, monkeypatch) -> None:
    from tuneforge.build.result import BuildOptions
    from tuneforge.build.session import build
    from tuneforge.console.base import Silent

    build(load(project.spec), Workspace.of(project.spec), Silent(), BuildOptions())
    monkeypatch.setattr(preflight, "installed", lambda _: False)
    preflight.check(*plan(project))


def test_unsloth_without_a_gpu_is_refused_before_anything_runs(project, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "installed", lambda _: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    project.edit("[train.t]\n", '[train.t]\nbackend = "unsloth"\n')
    with pytest.raises(EnvironmentMissing, match="unsloth"):
        preflight.check(*plan(project))
