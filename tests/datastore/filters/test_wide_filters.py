"""Filters by language, code blocks, word lists and numeric columns."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.fences import fences
from tuneforge_datastore.filters import language
from tuneforge_datastore.filters.column import pointer
from tuneforge_datastore.filters.wordlist import Words
from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError
from tuneforge_specs.filters import WordlistFilter


def dropped(bench: Any, rows: list[dict[str, Any]], *filters: dict[str, Any]) -> dict[str, Any]:
    """Give what filters drop of source s, by id; a second source has a record they keep."""
    spare = [{"prompt": "Who?", "completion": "A record that is kept.\n```python\n1\n```"}]
    sources = {"s": bench.source("s", rows), "spare": bench.source("spare", spare)}
    bench.curate(sources, filters=list(filters), dedup={"exact": False})
    return {key: row for key, row in bench.dropped().items() if key.startswith("s:")}


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"prompt": "Why is that so?", "completion": text} for text in texts]


class TestColumn:
    def test_keeps_between_min_and_max(self, bench: Any) -> None:
        values = [1, 2.5, "3", 4, None, "high", "nan", True]
        rows = [{"prompt": "p", "completion": "c", "stars": value} for value in values]
        found = dropped(
            bench,
            [{**row, "id": None} for row in rows],
            {"kind": "column", "column": "stars", "min": 2.5, "max": 3, "missing": "keep"},
        )
        assert {key: row["reason"] for key, row in found.items()} == {
            "s:0": "stars is below 2.5",
            "s:3": "stars is above 3",
        }
        assert found["s:0"]["score"] == 1.0
        assert found["s:0"]["rule"] == "column"

    def test_a_missing_number_is_dropped_by_default(self, bench: Any) -> None:
        rows = [{"prompt": "p", "completion": "c", "stars": value} for value in (5, None, "high")]
        bench.curate(
            {"s": bench.source("s", rows)},
            filters=[{"kind": "column", "column": "stars"}],
            dedup={"exact": False},
        )
        found = bench.dropped()
        assert {key: row["reason"] for key, row in found.items()} == {
            "s:1": "stars: no number",
            "s:2": "stars: no number",
        }
        assert found["s:2"]["evidence"] == "high"

    def test_names_are_taken_as_they_are(self, bench: Any) -> None:
        rows = [
            {"prompt": "p", "completion": "c", "a/b ~'\"*": value, "deep": {"er": -value}}
            for value in (1, 9)
        ]
        odd = {"kind": "column", "column": "a/b ~'\"*", "min": 5, "missing": "keep"}
        assert list(dropped(bench, rows, odd)) == ["s:0"]
        deep = {"kind": "column", "column": "/deep/er", "min": -5, "missing": "keep"}
        assert list(dropped(bench, rows, deep)) == ["s:1"]

    def test_pointers(self) -> None:
        assert pointer("a/b~c") == "/a~1b~0c"
        assert pointer("/a/b") == "/a/b"


class TestCode:
    TEXTS = (
        "Prose alone, with `code` in it.",
        "```python\nprint(1)\n```",
        "Look:\n~~~ js\nf()\n~~~\nand\n```\nplain\n```",
        "```Python title=x\nprint(1)",
    )

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ({}, [3]),
            ({"fences": "closed", "languages": ["js"]}, []),
            ({"fences": "require"}, [0]),
            ({"fences": "require", "languages": ["python"]}, [0, 2]),
            ({"fences": "forbid", "languages": ["Python", "js"]}, [1, 2, 3]),
            ({"fences": "closed", "of": "prompt"}, []),
        ],
    )
    def test_fences(self, bench: Any, keys: dict[str, Any], expected: list[int]) -> None:
        # The record that must remain: a file without code where code is forbidden.
        try:
            found = dropped(bench, answers(*self.TEXTS), {"kind": "code", **keys})
        except DataError:
            found = {}
        assert list(found) == [f"s:{place}" for place in expected]

    def test_says_what_is_open(self, bench: Any) -> None:
        (found,) = dropped(bench, answers(self.TEXTS[3]), {"kind": "code"}).values()
        assert found["reason"] == "a block of code is left open in the completion"
        assert found["evidence"] == "```Python title=x"
        assert found["score"] == 1.0

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("````\n```\n````", [("", True)]),
            ("```\n~~~\n```\n", [("", True)]),
            ("```\n``` not an end\n", [("", False)]),
            ("    ```\nindented code\n", []),
            ("``` a`b\n", []),
            ("   ```c\n```````", [("c", True)]),
            ("```a\n```\n```b\n", [("a", True), ("b", False)]),
        ],
    )
    def test_the_rules_of_commonmark(self, text: str, expected: list[tuple[str, bool]]) -> None:
        assert [(one.language, one.closed) for one in fences(text)] == expected

    @given(st.lists(st.sampled_from(["```", "~~~", "```py", "text", "", "  ````"]), max_size=12))
    def test_at_most_the_last_block_is_open(self, lines: list[str]) -> None:
        found = fences("\n".join(lines))
        assert all(one.closed for one in found[:-1])


class TestWordlist:
    def test_whole_words_whatever_the_case(self, bench: Any) -> None:
        rows = answers("Damn it, DAMN!", "goddamned dam", "A heck\nof a day", "Straße", "STRASSE")
        keys = {"kind": "wordlist", "words": ["damn", "heck of a", "straße"]}
        found = dropped(bench, rows, keys)
        assert {key: row["evidence"] for key, row in found.items()} == {
            "s:0": "damn",
            "s:2": "heck of a",
            "s:3": "strasse",
            "s:4": "strasse",
        }
        assert found["s:0"]["score"] == 2.0
        assert found["s:0"]["reason"] == "the whole has 2 listed words"
        assert list(dropped(bench, rows, {**keys, "max": 1})) == ["s:0"]
        assert list(dropped(bench, rows, {**keys, "of": "prompt"})) == []

    def test_a_file_of_words(self, bench: Any) -> None:
        bench.file("words/bad.txt", "# remarks\n\nrats\ndas geht nicht\n")
        keys = {"kind": "wordlist", "path": "words/bad.txt"}
        found = dropped(bench, answers("Rats!", "rat", "# remarks", "Das geht  NICHT."), keys)
        assert list(found) == ["s:0", "s:3"]
        assert found["s:0"]["reason"].endswith("of words/bad.txt")
        both = {**keys, "words": ["rat"]}
        assert list(dropped(bench, answers("Rats!", "rat"), both)) == ["s:0", "s:1"]

    @pytest.mark.parametrize(("name", "content"), [("none.txt", None), ("empty.txt", "# only\n")])
    def test_a_file_that_cannot_serve(self, bench: Any, name: str, content: str | None) -> None:
        if content is not None:
            bench.file(name, content)
        with pytest.raises(DataError, match=r"filters\[0\]\.path: .*" + name):
            dropped(bench, answers("x"), {"kind": "wordlist", "path": name})

    def test_some_list_is_needed(self) -> None:
        with pytest.raises(ValueError, match="needs `words`, a `path`, or both"):
            WordlistFilter.model_validate({"kind": "wordlist"})

    def test_scripts_without_spaces(self) -> None:
        assert Words(["坏话"]).within("他说坏话，坏话！") == ["坏话", "坏话"]

    @given(st.lists(st.sampled_from(["ab", "cd", "abcd", "x"]), max_size=10))
    def test_counts_as_plain_python_does(self, words: list[str]) -> None:
        assert len(Words(["AB"]).within(", ".join(words))) == words.count("ab")


FEW = {"kind": "language", "among": ["en", "de", "fr", "es"]}


class TestLanguage:
    TEXTS = (
        "The rain fell all day and the streets were empty when we left the house.",
        "Der Regen fiel den ganzen Tag und die Straßen waren leer, als wir gingen.",
        "La pluie est tombée toute la journée et les rues étaient vides.",
        "42 - 17 = 25",
    )

    @pytest.fixture(autouse=True)
    def _lingua(self) -> None:
        pytest.importorskip("lingua", reason="needs the extra tuneforge[language]")

    def test_keeps_the_languages_named(self, bench: Any) -> None:
        found = dropped(bench, answers(*self.TEXTS), {**FEW, "keep": ["en"]})
        assert list(found) == ["s:1", "s:2"]
        assert found["s:1"]["reason"].startswith("the completion is likely de (")
        assert found["s:1"]["reason"].endswith("not en")
        assert found["s:1"]["score"] < 0.5
        both = dropped(bench, answers(*self.TEXTS), {**FEW, "keep": ["en", "de"]})
        assert list(both) == ["s:2"]

    def test_two_filters_of_one_dataset(self, bench: Any) -> None:
        filters = [{**FEW, "keep": ["en", "de"]}, {**FEW, "keep": ["en", "fr"]}]
        found = dropped(bench, answers(*self.TEXTS), *filters)
        assert {key: row["stage"] for key, row in found.items()} == {
            "s:1": "filters[1]",
            "s:2": "filters[0]",
        }

    def test_part_confidence_and_length(self, bench: Any) -> None:
        keep = {**FEW, "keep": ["en"]}
        assert dropped(bench, answers(*self.TEXTS), {**keep, "min": 0.0}) == {}
        assert dropped(bench, answers(*self.TEXTS), {**keep, "shortest": 500}) == {}
        assert dropped(bench, answers(*self.TEXTS), {**keep, "of": "prompt", "shortest": 5}) == {}

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"keep": ["en", "qq"]}, r"filters\[0\]\.keep: qq: no language"),
            ({"keep": ["en"], "among": ["en"]}, "one language alone is no choice"),
        ],
    )
    def test_codes_that_mean_nothing(self, bench: Any, keys: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            dropped(bench, answers("x"), {"kind": "language", **keys})


def test_without_lingua_the_extra_is_named(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "find_spec", lambda _name: None)
    with pytest.raises(EnvironmentMissing, match="lingua-language-detector") as caught:
        dropped(bench, answers("x"), {"kind": "language", "keep": ["en"]})
    assert "pip install 'tuneforge[language]'" in caught.value.fix


def test_lingua_is_not_loaded_by_curations_without_it(bench: Any) -> None:
    before = set(sys.modules)
    dropped(bench, answers("one two"), {"kind": "length", "min": 1})
    assert "lingua" not in set(sys.modules) - before


def test_the_list_is_a_file_of_the_step(tmp_path: Path) -> None:
    from tuneforge.plan.files import wordlist_files

    (tmp_path / "bad.txt").write_text("x\n")
    one = WordlistFilter(kind="wordlist", path="bad.txt")
    assert wordlist_files([one], tmp_path) == {"bad.txt": tmp_path / "bad.txt"}
    with pytest.raises(DataError, match=r"word list not found: .*gone\.txt"):
        wordlist_files([WordlistFilter(kind="wordlist", path="gone.txt")], tmp_path)
