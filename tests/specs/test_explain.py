"""What each mistake in a spec says, word for word."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tuneforge_specs.errors import Problem

Problems = Callable[..., list[Problem]]

GOLDEN = Path(__file__).parent / "golden"

TRAIN = '[train.task]\nmethod = "sft"\ndataset = "instruct"\n'


@pytest.mark.parametrize(
    ("more", "key", "message", "fix"),
    [
        ("arg = {}", "train.task.arg", "is not a key of `train.task`", "did you mean `args`?"),
        (
            "learning_rate = 1e-4",
            "train.task.learning_rate",
            "is not a key of `train.task`",
            "it belongs in `args`: `args.learning_rate`",
        ),
        (
            "loss = { beta = 0.1 }",
            "train.task.loss",
            "is not a key of `train.task`",
            "it belongs to `method = dpo`",
        ),
        (
            'args = { epochs = "3" }',
            "train.task.args.epochs",
            'must be a number, not the text "3"',
            "write the number without quotes",
        ),
        (
            'args = { packing = "True" }',
            "train.task.args.packing",
            'must be true or false, not the text "True"',
            "write true without quotes",
        ),
        (
            "args = { micro_batch = 2.5 }",
            "train.task.args.micro_batch",
            "must be a whole number, not 2.5",
            "",
        ),
        (
            "args = { micro_batch = 0 }",
            "train.task.args.micro_batch",
            "must be at least 1, not 0",
            "",
        ),
        ("args = { warmup = 3 }", "train.task.args.warmup", "must be at most 1, not 3", ""),
        (
            "args = { epochs = inf }",
            "train.task.args.epochs",
            "must be a finite number",
            "",
        ),
        (
            "args = { learning_rate = 0 }",
            "train.task.args.learning_rate",
            "must be above 0, not 0",
            "",
        ),
        (
            'args = { scheduler = "cosin" }',
            "train.task.args.scheduler",
            'must be `constant`, `linear` or `cosine`, not the text "cosin"',
            "did you mean `cosine`?",
        ),
        ("args = 3", "train.task.args", "must be a table ({...}), not 3", ""),
        (
            "adapter = { r = 8 }",
            "train.task.adapter.kind",
            "is required",
            "add `kind`: `lora` or `full`",
        ),
        (
            'adapter = { knd = "lora" }',
            "train.task.adapter.kind",
            "is required",
            "rename `knd` to `kind`",
        ),
        (
            'adapter = { kind = "Lora" }',
            "train.task.adapter.kind",
            'must be `lora` or `full`, not the text "Lora"',
            "did you mean `lora`?",
        ),
        (
            'adapter = { kind = "full", r = 8 }',
            "train.task.adapter.r",
            "is not a key of `train.task.adapter`",
            "it belongs to `kind = lora`",
        ),
        (
            'adapter = "lora"',
            "train.task.adapter",
            'must be a table ({...}), not the text "lora"',
            'write { kind = "lora" }',
        ),
        (
            'adapter = { kind = "lora", target_modules = [] }',
            "train.task.adapter.target_modules",
            "must not be empty",
            "",
        ),
        (
            'adapter = { kind = "lora", target_modules = 3 }',
            "train.task.adapter.target_modules",
            "must be text or a list ([...]) of text, not 3",
            "",
        ),
        (
            'adapter = { kind = "lora", target_modules = ["q", 1] }',
            "train.task.adapter.target_modules[1]",
            "must be text, not 1",
            'put it in quotes: "1"',
        ),
        ("start = 1979-05-27", "train.task.start", "must be text, not a date or time", ""),
    ],
)
def test_one_mistake_in_a_train_step(
    problems: Problems, small: str, more: str, key: str, message: str, fix: str
) -> None:
    (found,) = problems(small + more + "\n")
    assert (found.key, found.message, found.fix) == (key, message, fix)
    assert found.line == (15 if not key.endswith("kind") or "kind =" in more else found.line)


@pytest.mark.parametrize(
    ("old", "new", "key", "message", "fix"),
    [
        ('path = "rows.jsonl"', "", "sources.rows", "needs `path`, `hf` or `sql`", ""),
        (
            'path = "rows.jsonl"',
            'path = "x"\nhf = "y"',
            "sources.rows.path",
            "cannot stand beside `hf`",
            "",
        ),
        (
            "[sources.rows]",
            '[sources."my rows"]',
            'sources."my rows"',
            "the name must be 1 to 64",
            "",
        ),
        ("spec = 1", "spec = 2", "spec", "must be `1`, not 2", ""),
        (
            "spec = 1",
            "",
            "spec",
            "is required",
            "add `spec = ...` (Version of the spec's language)",
        ),
        ('model = "models/base"', "", "base", "needs `model` or `scratch`", "add one of them"),
        ('[base]\nmodel = "models/base"\n', "", "base", "is required", "add `base = ...`"),
        ("[train.task]", "[train]", "train.method", "must be a table", 'write { method = "sft" }'),
        (
            'from = [{ source = "rows" }]',
            "from = []",
            "datasets.instruct.from",
            "must not be empty",
            "",
        ),
        (
            'from = [{ source = "rows" }]',
            'from = "rows"',
            "datasets.instruct.from",
            'must be a list ([...]) of a table ({...}), not the text "rows"',
            "put it in brackets: [...]",
        ),
        ("[build]", "[[build]]", "build", "must be a table", ""),
        ("[sources.bench]", "[dedup]\n[sources.bench]", "dedup", "is not a key of a spec", ""),
    ],
)
def test_one_mistake_elsewhere(
    problems: Problems, small: str, old: str, new: str, key: str, message: str, fix: str
) -> None:
    found = problems(small.replace(old, new))[0]
    assert found.key == key
    assert message in found.message
    assert fix in found.fix


def test_a_false_or_a_table(problems: Problems, small: str) -> None:
    text = small.replace("[base]", "dedup = { near = true }\n[base]")
    (found,) = problems(text)
    assert (found.key, found.message) == (
        "datasets.instruct.dedup.near",
        "must be a table ({...}) or false, not true",
    )


def test_only_the_meant_member_of_a_union_is_reported(problems: Problems, small: str) -> None:
    filters = 'filters = [{ kind = "length", min = "a" }, { kind = "sql", name = "n", keep = "" }]'
    found = problems(small.replace("[base]", f"{filters}\n[base]"))
    assert [(p.key, p.message) for p in found] == [
        ("datasets.instruct.filters[0].min", 'must be a whole number, not the text "a"'),
        ("datasets.instruct.filters[1].keep", "must not be empty"),
    ]


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.toml")))
def test_all_problems_of_a_spec_at_once(name: str, problems: Problems, tmp_path: Path) -> None:
    text = (GOLDEN / f"{name}.toml").read_text(encoding="utf-8")
    told = "\n".join(map(str, problems(text))).replace(f"{tmp_path}/", "") + "\n"
    assert told == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
