"""Rows of a query for other programs: what is written reads back, and nothing in it runs."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuneforge_datastore.answers import FORMULA, unformulated, write_csv
from tuneforge_datastore.sql import Answer


def written(answer: Answer) -> tuple[str, list[list[str]]]:
    out = io.StringIO(newline="")
    write_csv(answer, out)
    text = out.getvalue()
    return text, list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]
)
def test_no_cell_and_no_heading_is_a_formula(cell: str) -> None:
    _, rows = written(Answer([cell, "sound"], [], [(cell, -1.5), (cell, "x")]))
    assert rows == [[f"'{cell}", "sound"], [f"'{cell}", "-1.5"], [f"'{cell}", "x"]]


def test_rows_end_with_a_line_feed_and_a_lone_carriage_return_is_quoted() -> None:
    text, rows = written(Answer(["a", "b"], [], [("x\ry", "z"), ("x\r\n", "\n")]))
    assert text.startswith('a,b\n"x\ry",z\n')
    assert rows[1:] == [["x\ry", "z"], ["x\r\n", "\n"]]


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_reads_back_but_for_the_apostrophe(cells: list[str]) -> None:
    _, rows = written(Answer([str(place) for place in range(len(cells))], [], [tuple(cells)]))
    assert rows[1] == [unformulated(cell) for cell in cells]
    assert not any(cell.startswith(FORMULA) for cell in rows[1])
