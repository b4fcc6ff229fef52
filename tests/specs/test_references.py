"""Names across tables. The golden specs hold the words; here is what must pass, and corners."""

from collections.abc import Callable

import pytest
from tuneforge_specs.errors import Problem
from tuneforge_specs.loader import LoadedSpec

Load = Callable[..., LoadedSpec]
Problems = Callable[..., list[Problem]]

EVALUATE = """
[evaluate.test]
model = "task"
dataset = "instruct"
metrics = ["loss", { kind = "exact-match" }]
"""


@pytest.mark.parametrize("model", ["base", "task"])
def test_models_an_evaluation_may_measure(loaded: Load, small: str, model: str) -> None:
    loaded(small + EVALUATE.replace('"task"', f'"{model}"') + 'gate = ["exact-match > base"]\n')


def test_a_faulty_entry_still_counts_as_declared(problems: Problems, small: str) -> None:
    (found,) = problems(small.replace('path = "rows.jsonl"', "path = 3"))
    assert found.key == "sources.rows.path"


def test_references_are_checked_beside_other_faults(problems: Problems, small: str) -> None:
    text = small.replace('"instruct"', '"instrct"').replace('name = "demo"', "name = 3")
    assert [found.key for found in problems(text)] == ["build.name", "train.task.dataset"]


def test_faults_within_one_step_are_told_together(problems: Problems, small: str) -> None:
    text = small.replace('dataset = "instruct"', 'dataset = "instrct"\nargs = { epoch = 1 }')
    assert [found.key for found in problems(text)] == [
        "train.task.dataset",
        "train.task.args.epoch",
    ]


@pytest.mark.parametrize(
    ("gate", "words", "fix"),
    [
        (
            "exact >= 0.8",
            "`exact` is not a metric of this evaluation",
            "did you mean `exact-match`?",
        ),
        (
            "json-valid >= 0.8",
            "`json-valid` is not a metric of this evaluation",
            "valid: `loss` or",
        ),
        ("exact-match => 0.8", "is not a gate", "METRIC >= 0.8"),
        ("exact-match >= base * 2", "is not a gate", "METRIC >= 0.8"),
    ],
)
def test_gates(problems: Problems, small: str, gate: str, words: str, fix: str) -> None:
    (found,) = problems(small + EVALUATE + f'gate = ["loss < base",\n "{gate}"]\n')
    assert found.key == "evaluate.test.gate[1]"
    assert found.line == 21
    assert words in found.message
    assert fix in found.fix


@pytest.mark.parametrize("name", ["records", "Ledger", "instruct_dropped", "instruct_funnel"])
def test_names_of_the_sql_surface_are_taken(problems: Problems, small: str, name: str) -> None:
    (found,) = problems(small + f'[datasets.{name}]\nfrom = [{{ source = "rows" }}]\n')
    assert found.key == f"datasets.{name}"


def test_a_circle_is_told_at_each_step_of_it_and_nowhere_else(
    problems: Problems, small: str
) -> None:
    steps = "".join(
        f'[train.{name}]\nmethod = "sft"\ndataset = "instruct"\nstart = "{start}"\n'
        for name, start in (("a", "b"), ("b", "c"), ("c", "b"))
    )
    found = problems(small + steps)
    assert [problem.key for problem in found] == ["train.b.start", "train.c.start"]
    assert "b -> c -> b" in found[0].message


def test_no_sources_at_all(problems: Problems) -> None:
    head = 'spec = 1\n[build]\nname = "x"\n[base]\nmodel = "m"\n'
    (found,) = problems(head + '[datasets.d]\nfrom = [{ source = "s" }]\n')
    assert found.fix == "declare [sources.s]"
