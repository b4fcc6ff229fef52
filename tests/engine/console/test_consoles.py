"""Consoles show what matters of the same events."""

import io
import json

from rich.console import Console as RichConsole

from tuneforge.console.eta import Eta
from tuneforge.console.lines import JsonLines
from tuneforge.console.plain import Plain
from tuneforge.console.terminal import Terminal
from tuneforge.console.text import live, number, seconds, size

EVENTS = [
    {"event": "build_started", "name": "demo", "steps": ["dataset.d", "train.t", "export.x"]},
    {"event": "plan", "steps": [{"status": "cached"}, {"status": "run"}, {"status": "pending"}]},
    {"event": "step_done", "step": "dataset.d", "cached": True, "seconds": 0.0},
    {
        "event": "step_started",
        "step": "train.t",
        "why": ["train.t.args.epochs changed 1.0 -> 2.0"],
        "expected_seconds": 75.0,
    },
    {"event": "metrics", "step": "train.t", "values": {"loss": 1.5, "tokens_per_second": 12000.0}},
    {"event": "progress", "step": "train.t", "done": 5, "total": 100, "unit": "step"},
    {"event": "progress", "step": "train.t", "done": 25, "total": 100, "unit": "step"},
    {"event": "warning", "step": "train.t", "message": "a row was [cut]"},
    {"event": "step_done", "step": "train.t", "cached": False, "seconds": 61.0},
    {
        "event": "gate",
        "evaluation": "e",
        "expression": "exact-match >= 0.5",
        "value": 0.25,
        "bound": 0.5,
        "passed": False,
    },
    {"event": "step_skipped", "step": "export.x", "why": "gate failed"},
    {"event": "build_failed", "message": "gates failed", "fix": "", "exit_code": 4},
    {"event": "of a later version"},
]


def test_plain_lines_tell_the_story() -> None:
    times = iter([0.0, 5.0, 25.0])
    stream = io.StringIO()
    console = Plain(stream, clock=lambda: next(times))
    for event in EVENTS:
        console.show(event)
    assert stream.getvalue().splitlines() == [
        "building demo: 3 steps",
        "  1 cached, 2 to do or to check",
        "[2/3] train.t: train.t.args.epochs changed 1.0 -> 2.0, last time 1 min 15 s",
        "  train.t 25/100 step, 1 min 15 s left, loss 1.5000, 12,000 tokens/s",
        "  warning: a row was [cut]",
        "  done in 1 min 1 s",
        "  gate e: exact-match >= 0.5 FAILED (0.25, bound 0.5)",
        "[3/3] export.x: left out, gate failed",
    ]


def test_progress_is_told_at_most_every_ten_seconds() -> None:
    clock = [0.0]
    stream = io.StringIO()
    console = Plain(stream, clock=lambda: clock[0])
    console.show(EVENTS[0])
    console.show(EVENTS[3])
    for second in range(35):
        clock[0] = float(second)
        console.show({**EVENTS[5], "done": second + 1})
    assert sum("/100 step" in line for line in stream.getvalue().splitlines()) == 3


def test_json_lines_are_verbatim() -> None:
    stream = io.StringIO()
    console = JsonLines(stream)
    for event in EVENTS:
        console.show(event)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == EVENTS


def test_the_terminal_leaves_a_line_for_each_step_and_takes_markup_as_text() -> None:
    stream = io.StringIO()
    rich = RichConsole(file=stream, force_terminal=True, width=100, color_system=None)
    console = Terminal(rich)
    for event in EVENTS:
        console.show(event)
    console.close()
    text = stream.getvalue()
    for part in ("✓ train.t  1 min 1 s", "loss 1.5000", "a row was [cut]", "✗ gate", "– export.x"):
        assert part in text, part


def test_numbers_as_people_read_them() -> None:
    assert [seconds(s) for s in (0.04, 9.99, 59.4, 75, 7500)] == [
        "0.0 s",
        "10.0 s",
        "59 s",
        "1 min 15 s",
        "2 h 5 min",
    ]
    assert [size(n) for n in (0, 999, 1500, 12_300_000, 5e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "12.3 MB",
        "5.0 TB",
    ]
    assert [number(n) for n in (3, 12345, 0.123456)] == ["3", "12,345", "0.1235"]
    assert live({"loss": 0.5, "learning_rate": 1e-4, "rows": 1200}) == "loss 0.5000, rows 1,200"


def test_time_left_counts_from_the_first_progress_seen() -> None:
    eta = Eta()
    assert eta.left() == 0.0
    eta.observe(300, 400, now=100.0)  # a resumed run, after a minute of loading
    assert eta.left() == 0.0
    eta.observe(310, 400, now=105.0)
    assert eta.left() == 45.0
    eta.observe(0, 50, now=110.0)  # the next phase
    eta.observe(10, 50, now=120.0)
    assert eta.left() == 40.0
