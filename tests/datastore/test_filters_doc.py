"""docs/filters.md: its example curates, its queries run, its tables name every kind there is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tuneforge_datastore.filters import FILTERS
from tuneforge_datastore.selection import SELECTIONS
from tuneforge_datastore.sql import query
from tuneforge_specs.datasets import Dataset, Overflow

TEXT = (Path(__file__).parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("Filters", set(FILTERS)),
        ("Selection", set(SELECTIONS)),
        ("Overflow", set(Overflow.__args__)),  # type: ignore[attr-defined]
    ],
)
def test_every_kind_has_its_line(title: str, kinds: set[str]) -> None:
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section(title), re.MULTILINE)) == kinds


def test_the_example_and_its_queries(bench: Any) -> None:
    (example,) = blocks("toml")
    spec = tomllib.loads(example)["datasets"]["instruct"]
    Dataset.model_validate(spec)
    rows: list[dict[str, Any]] = [
        {
            "prompt": f"Question {n}, about {topic} and nothing else",
            "completion": f"Mail me at user{n}@mail.org, please, and I will look into {topic} "
            f"as soon as I am back at my desk on the morning of day {n}.",
            "topic": topic,
            "stars": 5,
        }
        for n in range(60)
        for topic in ("printers", "cables")
    ]
    rows += [
        {"prompt": "Bad words?", "completion": "That is a heck of a day.", "topic": "cables"},
        {"prompt": "Few stars?", "completion": "This one has one star.", "stars": 1},
        {"prompt": "Open?", "completion": "Here it is:\n```python\nprint(1)", "topic": "cables"},
    ]
    folder = bench.source("tickets", rows)
    bench.curate({"tickets": folder}, **spec)
    rules = {row["rule"] for row in bench.dropped().values()}
    assert {"wordlist", "column", "code", "cluster-capped"} <= rules
    assert all("[EMAIL]" in row["completion"] for row in bench.kept())
    workspace = bench.publish(
        ("source", "tickets", folder), ("dataset", "instruct", bench.folder / "dataset")
    )
    dropped, tagged = (query(workspace, text) for text in blocks("sql"))
    assert [row[3] for row in dropped.rows] == ["heck of a"]
    assert len(tagged.rows) == len(bench.kept())
