"""Names that a spec gives: none of them is a path, a SQL text or another folder."""

from pathlib import Path

import pytest
from tuneforge_specs.errors import SpecError
from tuneforge_specs.loader import load

SPEC = """
spec = 1
[build]
name = "x"
[base.scratch]
corpus = ["NAME"]
[sources."NAME"]
path = "rows.jsonl"
[datasets.d]
from = [{ source = "NAME" }]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    file = folder / "spec.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "name",
    ["../../evil", "/etc", "a/b", "..", "x'; DROP TABLE records; --", 'say\\"hi\\"', "a b", ""],
)
@pytest.mark.parametrize("of", ["sources", "datasets"])
def test_a_name_is_letters_digits_hyphens(tmp_path: Path, name: str, of: str) -> None:
    text = SPEC.replace("NAME", name)
    if of == "datasets":
        text = SPEC.replace("NAME", "s").replace("[datasets.d]", f'[datasets."{name}"]')
    with pytest.raises(SpecError) as caught:
        load(write(tmp_path, text))
    assert of in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "spec.toml"]


def test_a_plain_name_passes(tmp_path: Path) -> None:
    assert list(load(write(tmp_path, SPEC.replace("NAME", "a-b_1"))).spec.sources) == ["a-b_1"]
