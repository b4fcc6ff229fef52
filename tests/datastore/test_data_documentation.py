"""docs/data.md names every format, every rule of cleaning and every form of a snapshot."""

import re
from pathlib import Path
from typing import get_args

from tuneforge_datastore.cleaning.rules import RULES
from tuneforge_datastore.ingest.formats import FORMATS
from tuneforge_datastore.snapshot import Form
from tuneforge_specs.sources import Format


def rows(text: str, title: str) -> list[str]:
    section = text.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_the_tables_are_complete(repository: Path) -> None:
    text = (repository / "docs" / "data.md").read_text()
    assert sorted(rows(text, "Formats")) == sorted(FORMATS)
    assert rows(text, "Cleaning") == list(RULES)
    assert all(f"`{form}`" in text.split("## Snapshots")[1] for form in get_args(Form))
    # The spec offers what there is a module for, and nothing else.
    assert set(get_args(Format)) == {"auto", *FORMATS}
