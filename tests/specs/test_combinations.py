"""Settings that contradict each other, and settings that change nothing."""

from collections.abc import Callable

import pytest
from tuneforge_specs import combinations
from tuneforge_specs.errors import Problem
from tuneforge_specs.loader import LoadedSpec
from tuneforge_specs.merge import Merge
from tuneforge_specs.shapes import shape_of
from tuneforge_specs.train import FullAdapter, LoraAdapter

Load = Callable[..., LoadedSpec]
Problems = Callable[..., list[Problem]]

NEXT = '[train.next]\nmethod = "dpo"\ndataset = "instruct"\nstart = "task"\n'
EVALUATE = '[evaluate.e]\nmodel = "base"\ndataset = "instruct"\nmetrics = ["loss"]\n'
MERGE = '[merge.m]\nmethod = "lora"\ninputs = [{ train = "task" }]\n'
MEASURED = '[evaluate.e]\nmodel = "task"\ndataset = "instruct"\nmetrics = ["loss"]\n'
CAT = MERGE.replace('"lora"', '"lora_cat"')


class TestContinuedAdapters:
    def test_left_out_it_is_the_starts(self, loaded: Load, small: str) -> None:
        adapter = 'adapter = { kind = "lora", r = 4, dropout = 0.1 }\n'
        last = NEXT.replace("next", "last").replace('start = "task"', 'start = "next"')
        spec = loaded(small + adapter + last + NEXT)
        for name in ("task", "next", "last"):
            assert spec.spec.train[name].adapter == LoraAdapter(kind="lora", r=4, dropout=0.1)
        assert spec.resolved["train"]["last"]["adapter"]["r"] == 4

    def test_full_training_goes_on_in_full(self, loaded: Load, small: str) -> None:
        spec = loaded(small + 'adapter = { kind = "full" }\n' + NEXT)
        assert spec.spec.train["next"].adapter == FullAdapter(kind="full")

    def test_dropout_may_change(self, loaded: Load, small: str) -> None:
        loaded(small + NEXT + 'adapter = { kind = "lora", dropout = 0.2 }\n')

    @pytest.mark.parametrize(
        ("adapter", "key", "words"),
        [
            ('{ kind = "lora", r = 4 }', "r", "is 4, but `task`, which it continues, has 16"),
            ('{ kind = "lora", dora = true }', "dora", "is true, but"),
            ('{ kind = "full" }', "kind", "is full, but `task` trains lora"),
        ],
    )
    def test_another_one_is_an_error(
        self, problems: Problems, small: str, adapter: str, key: str, words: str
    ) -> None:
        (found,) = problems(small + NEXT + f"adapter = {adapter}\n")
        assert found.key == f"train.next.adapter.{key}"
        assert words in found.message
        assert found.line == 19


@pytest.mark.parametrize(
    ("old", "new", "more", "key", "words"),
    [
        (
            "[train.task]",
            'quantize = "nf4"\n[train.task]',
            'adapter = { kind = "full" }\n',
            "train.task.adapter",
            "cannot change a base held in nf4",
        ),
        (
            "[train.task]",
            'dtype = "float16"\n[train.task]',
            'adapter = { kind = "full" }\n',
            "train.task.adapter",
            "not float16",
        ),
        (
            "",
            "",
            'adapter = { kind = "full" }\n[export.e]\nformat = "adapter"\nmodel = "task"\n',
            "export.e.model",
            "is a whole model",
        ),
        (
            "",
            "",
            MERGE + '[export.e]\nformat = "adapter"\nmodel = "m"\n',
            "export.e.model",
            "is a whole model",
        ),
        (
            "[base]",
            'template = { train_on = "last", overflow = "split" }\n[base]',
            "",
            "datasets.instruct.template.overflow",
            'train_on is "last"',
        ),
        (
            "[base]",
            'filters = [{ kind = "length", min = 9, max = 3 }]\n[base]',
            "",
            "datasets.instruct.filters[0].min",
            "min 9 is above max 3",
        ),
        (
            "",
            "",
            '[export.e]\nformat = "gguf"\nmodel = "task"\n',
            "export.e.model",
            "is an adapter",
        ),
        (
            "",
            "",
            'adapter = { kind = "full" }\n' + MERGE,
            "merge.m.inputs[0]",
            "takes adapters, not full weights",
        ),
        (
            "",
            "",
            '[merge.m]\nmethod = "lora_svd"\nrank = 4\ninputs = [{ merge = "n" }]\n'
            + MERGE.replace(".m]", ".n]"),
            "merge.m.inputs[0]",
            "`lora_svd` takes adapters, not full weights",
        ),
        (
            "",
            "",
            '[merge.m]\nmethod = "lora_extract"\nrank = 4\ninputs = [{ train = "task" }]\n',
            "merge.m.inputs[0]",
            "takes full weights, not an adapter",
        ),
        (
            "",
            "",
            CAT + '[export.e]\nformat = "gguf"\nmodel = "m"\n',
            "export.e.model",
            "is an adapter",
        ),
        (
            "",
            "",
            '[merge.m]\nmethod = "lora"\ninputs = [{ model = "x" }]\n',
            "merge.m.inputs[0]",
            "takes adapters, not full weights",
        ),
        (
            "",
            "",
            "[datasets.instruct.split]\neval = 0\n" + MEASURED,
            "evaluate.e.dataset",
            "holds nothing out",
        ),
    ],
)
def test_contradictions(
    problems: Problems, small: str, old: str, new: str, more: str, key: str, words: str
) -> None:
    (found,) = problems(small.replace(old, new, 1) + more)
    assert found.key == key
    assert words in found.message
    assert found.fix


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        (NEXT + "args = { packing = true }\n", "train.next.args.packing", "no effect with dpo"),
        (
            NEXT + 'adapter = { kind = "lora", dropout = 0.1 }\n',
            "train.next.adapter.dropout",
            "no effect with dpo",
        ),
        (
            "args = { max_steps = 3, epochs = 1 }\n",
            "train.task.args.epochs",
            "`max_steps` decides",
        ),
        (
            "args = { keep_checkpoints = 3, checkpoint_every = 0 }\n",
            "train.task.args.keep_checkpoints",
            "none is made",
        ),
        (
            "args = { eval_every = 3 }\n[datasets.instruct.split]\neval = 0\n",
            "train.task.args.eval_every",
            "holds nothing out",
        ),
        (
            '[datasets.instruct.split]\neval = 0\nby = "record"\n',
            "datasets.instruct.split.by",
            "nothing is held out",
        ),
        (
            NEXT + 'loss = { type = "ipo", label_smoothing = 0.1 }\n',
            "train.next.loss.label_smoothing",
            "ipo loss",
        ),
        (NEXT + 'loss = { type = "robust" }\n', "train.next.loss.type", "sigmoid loss"),
        (MERGE + 'onto = "original"\n', "merge.m.onto", "the base is not quantised"),
        (
            '[merge.m]\nmethod = "ties"\nonto = "original"\ninputs = [{ model = "x" }]\n',
            "merge.m.onto",
            "no input is an adapter",
        ),
        (
            '[merge.m]\nmethod = "linear"\ninputs = [{ model = "x", density = 0.5 }]\n',
            "merge.m.inputs[0].density",
            "linear trims nothing",
        ),
        (
            '[merge.m]\nmethod = "slerp"\ninputs = [{ model = "x", weight = 0.5 }]\n',
            "merge.m.inputs[0].weight",
            "slerp has no weights",
        ),
        (
            NEXT.replace('start = "task"', 'adapter = { kind = "lora", dropout = 0.1 }'),
            "train.next.adapter.dropout",
            "compared without dropout",
        ),
        (
            EVALUATE + "max_new_tokens = 9\n",
            "evaluate.e.max_new_tokens",
            "generates nothing",
        ),
        (
            '[evaluate.e]\nmodel = "m"\ndataset = "instruct"\nmetrics = ["loss"]\n'
            + MERGE
            + '[export.x]\nformat = "gguf"\nmodel = "m"\nafter = ["e"]\n',
            "export.x.after[0]",
            "cannot stop this export",
        ),
        (
            '[sources.c]\npath = "x"\nformat = "text"\ncolumns = { text = "body" }\n',
            "sources.c.format",
            "`columns` says how",
        ),
    ],
)
def test_what_changes_nothing_is_said(
    loaded: Load, small: str, more: str, key: str, words: str
) -> None:
    spec = loaded(small + more)
    (found,) = spec.warnings
    assert found.key == key
    assert words in found.message
    assert found.fix
    file, line = spec.position(key)
    assert (found.file, found.line) == (file, line)
    assert line > 14


@pytest.mark.parametrize(
    ("more", "template", "key"),
    [
        ("", "", ""),
        ("context = 1023\n", "", "datasets.instruct.template.max_tokens"),
        ("context = 512\n", "template = { max_tokens = 512 }\n", ""),
        ("", "template = { max_tokens = 1025 }\n", "datasets.instruct.template.max_tokens"),
    ],
)
def test_rows_longer_than_a_scratch_base_takes_are_foretold(
    loaded: Load, small: str, more: str, template: str, key: str
) -> None:
    text = small.replace(
        '[base]\nmodel = "models/base"\n',
        f'{template}[datasets.unused]\nfrom = [{{ source = "rows" }}]\n'
        f'[base.scratch]\ncorpus = ["rows"]\n{more}',
    )
    found = loaded(text).warnings
    assert [warning.key for warning in found] == ([key] if key else [])
    if found:
        assert "would end the training" in found[0].message
        assert "base.scratch.context" in found[0].fix


def test_an_adapter_may_leave_as_one(loaded: Load, small: str) -> None:
    loaded(small + '[export.e]\nformat = "adapter"\nmodel = "task"\n')


def test_dropout_that_a_start_brings_is_not_held_against_dpo(loaded: Load, small: str) -> None:
    text = small + 'adapter = { kind = "lora", dropout = 0.1 }\n' + NEXT
    assert loaded(text).warnings == ()


def test_methods_are_named_as_the_merges_are() -> None:
    methods = set(shape_of(Merge).tagged)
    assert methods >= combinations._TRIMMING
    assert methods >= combinations._UNWEIGHTED


def test_nothing_is_said_of_defaults(loaded: Load, small: str) -> None:
    assert loaded(small + NEXT + MERGE).warnings == ()


def test_a_merged_adapter_is_exported_and_merged_on(loaded: Load, small: str) -> None:
    more = MERGE.replace(".m]", ".n]").replace('train = "task"', 'merge = "m"')
    assert loaded(small + CAT + '[export.e]\nformat = "adapter"\nmodel = "m"\n' + more)


@pytest.mark.parametrize(("name", "words"), [("m", "its own input"), ("k", "no merge `k`")])
def test_a_merge_takes_another_that_is_there(
    problems: Problems, small: str, name: str, words: str
) -> None:
    (found,) = problems(small + CAT.replace('train = "task"', f'merge = "{name}"'))
    assert found.key == "merge.m.inputs[0].merge"
    assert words in found.message
