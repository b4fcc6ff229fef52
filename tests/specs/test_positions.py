"""The scanner's lines against tomllib's values: same paths, right lines."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_specs.keypath import KeyPath, key_text, parse_path, path_text
from tuneforge_specs.positions import positions
from tuneforge_specs.write import to_toml

EXAMPLE = """\
# a comment with = and [brackets]
top = 1
"quoted key" = "a # b"   # trailing
dotted.inner.leaf = true

[table]
plain = [1, 2,
  3]
text = \"\"\"
[not.a.table]
fake = 1
\"\"\"
literal = '''
x = [ '''
after = { a = 1, b = { c = [ { d = 2 }, { d = 3 } ] } }

[table.below]
when = 1979-05-27 07:32:00

[[rows]]
id = 1
[rows.more]
x = 1
[[rows]]
id = 2
[[rows.deep]]
y = 1
[rows.more]
x = "\\u0041\\" ]"
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("top", 2),
        ('"quoted key"', 3),
        ("dotted", 4),
        ("dotted.inner.leaf", 4),
        ("table", 6),
        ("table.plain", 7),
        ("table.plain[0]", 7),
        ("table.plain[2]", 8),
        ("table.text", 9),
        ("table.literal", 13),
        ("table.after.b.c[1].d", 15),
        ("table.below", 17),
        ("table.below.when", 18),
        ("rows", 20),
        ("rows[0]", 20),
        ("rows[0].more.x", 23),
        ("rows[1]", 24),
        ("rows[1].id", 25),
        ("rows[1].deep[0].y", 27),
        ("rows[1].more.x", 29),
    ],
)
def test_lines_of_an_example(path: str, line: int) -> None:
    assert positions(EXAMPLE)[parse_path(path)] == line


def test_windows_line_ends() -> None:
    assert positions("a = 1\r\n[b]\r\nc = '''\r\n'''\r\nd = 2\r\n")[("b", "d")] == 5


def every_path(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    found = {path} if path else set()
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in entries:
        if isinstance(inner, dict | list):
            found |= every_path(inner, (*path, key))
        else:
            found.add((*path, key))
    return found


keys = st.text(min_size=1, max_size=6) | st.sampled_from(["a", "b-c", "1"])
scalars = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12).filter(lambda text: "\r" not in text)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(keys, values, max_size=4)


@given(documents)
def test_every_path_of_written_toml_has_its_line(data: dict[str, Any]) -> None:
    text = to_toml(data)
    assert tomllib.loads(text) == data
    found = positions(text)
    assert set(found) == every_path(data)
    lines = text.split("\n")
    for path, line in found.items():
        name = next(part for part in reversed(path) if isinstance(part, str))
        if not isinstance(path[-1], int):
            assert key_text(name) in lines[line - 1]


@given(st.text(max_size=200) | st.text(alphabet="ab.=[]{}\"'#\n ,1\\t", max_size=80))
def test_whatever_tomllib_accepts_is_scanned_alike(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError):
        return
    assert set(positions(text)) == every_path(data)


@given(
    st.lists(st.text(min_size=1, max_size=5).filter(lambda t: '"' not in t and "\\" not in t)),
    st.lists(st.integers(0, 99), max_size=2),
)
def test_paths_read_back(names: list[str], indexes: list[int]) -> None:
    names = [name for name in names if name.isprintable()]
    if names:
        path: KeyPath = (*names, *indexes)
        assert parse_path(path_text(path)) == path


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "[0]", "a[", "a[-1]", "a b", "a[0]b"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="key path"):
        parse_path(text)
