"""Phrases of a page's or a chat window's frame, and what merely looks like them."""

from typing import Any

import pytest

SPARE = {"prompt": "spare", "completion": "A spare record, always kept."}


def run(bench: Any, rows: list[dict[str, str]], **keys: Any) -> dict[str, Any]:
    source = bench.source("s", [*rows, SPARE])
    bench.curate({"s": source}, filters=[{"kind": "boilerplate", **keys}], dedup={"exact": False})
    dropped: dict[str, Any] = bench.dropped()
    return dropped


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Lorem ipsum dolor sit amet", "Lorem ipsum"),
        ("This site uses cookies to serve you.", "uses cookies"),
        ("Please enable JavaScript to go on.", "enable JavaScript"),
        ("© 2018 Allergan. All rights reserved.", "All rights reserved"),
        ("Click here to subscribe!", "Click here to subscribe"),
        ("As of my last knowledge update, no.", "As of my last knowledge update"),
        ("Sincerely,\n[Your Name]", "[Your Name]"),
        ("Dear [Recipient's Name],", "[Recipient's Name]"),
        ("She reserved all rights to the song.", ""),
        ("JavaScript requires no semicolons.", ""),
        ("Bake the cookies for ten minutes.", ""),
        ("The list [1, 2] and the option [your]", ""),
    ],
)
def test_what_is_boilerplate(bench: Any, text: str, found: str) -> None:
    dropped = run(bench, [{"prompt": "Write.", "completion": text}])
    assert dropped.get("s:0", {}).get("evidence", "") == found


def test_more_phrases_and_other_parts(bench: Any) -> None:
    rows = [{"prompt": "Hello (c) Acme?", "completion": "Yes."}]
    assert run(bench, rows, phrases=["(c) acme"]) == {}
    row = run(bench, rows, phrases=["(c) acme"], of="prompt")["s:0"]
    assert (row["rule"], row["reason"]) == ("boilerplate", "the prompt holds boilerplate")
    assert row["evidence"] == "(c) Acme"
