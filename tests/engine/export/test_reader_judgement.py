"""What the independent reader saw is judged: errors, agreement, stopping, token ids."""

import pytest

from tuneforge.export.verify.reader import judge, judge_ids
from tuneforge.export.verify.report import Report
from tuneforge.export.verify.thresholds import THRESHOLDS, within

GOOD = {
    "positions": 100,
    "top1": 1.0,
    "clear_positions": 80,
    "clear_top1": 1.0,
    "mean_error": 0.0,
    "max_error": 0.0,
    "relative_error": 0.0,
    "kl_divergence": 0.0,
}


@pytest.mark.parametrize("kind", THRESHOLDS)
def test_each_threshold_can_fail(kind):
    assert within(kind, GOOD, "float32")[0]
    limit = THRESHOLDS[kind].relative_error
    assert not within(kind, GOOD | {"relative_error": limit * 1.01}, "float32")[0]
    least = THRESHOLDS[kind].clear_top1
    assert not within(kind, GOOD | {"clear_top1": least - 0.01}, "float32")[0]


def test_not_a_number_fails():
    assert not within("f32", GOOD | {"relative_error": float("nan")}, "float32")[0]


def test_bfloat16_probe_has_slack():
    measured = GOOD | {"relative_error": 0.04, "clear_top1": 0.96}
    assert not within("f32", measured, "float32")[0]
    assert within("f32", measured, "bfloat16")[0]


def stops(source, file):
    report = Report()
    seen = {"generated": source, "files": {"x.gguf": {"logits": GOOD, "generated": file}}}
    judge({"x.gguf": "f32"}, seen, "float32", (2,), report)
    return next(check for check in report.checks if check.name == "stops")


def test_a_file_that_never_stops_fails():
    assert not stops([[5, 2], [6, 2]], [[5, 7, 8], [6, 7, 8]]).passed


def test_a_file_that_stops_passes():
    assert stops([[5, 2], [6, 2]], [[5, 2], [6, 2]]).detail == "2 of 2 stop, 2 of 2 equal"


def test_a_source_that_does_not_stop_decides_nothing():
    check = stops([[5, 6]], [[5, 7]])
    assert check.passed
    assert "does not stop" in check.detail


def ids(architecture, pre, found, **seen):
    report = Report()
    metadata = {"general.architecture": architecture, "tokenizer.ggml.pre": pre}
    judge_ids("x.gguf", metadata, {"a": [1], "b": [2]}, {"token_ids": found} | seen, report)
    return report


def test_token_ids_count_where_the_reader_is_faithful():
    assert not ids("llama", "gpt-2", [[1], [2]]).failed
    assert ids("llama", "gpt-2", [[1], [3]]).failed


def test_elsewhere_they_are_noted():
    report = ids("llama", "llama-bpe", [[1], [3]])
    assert not report.failed
    assert "1 of 2 texts differ" in report.notes[0]


def test_an_unreadable_tokenizer_is_unverified():
    report = ids("llama", "gpt-2", "KeyError: x")
    assert not report.checks
    assert "KeyError: x" in report.unverified[0]


def test_llama_cpp_decides_where_it_is_installed():
    good, bad = [[1], [2]], [[1], [3]]
    assert not ids("llama", "llama-bpe", bad, llama_cpp={"token_ids": good}).failed
    report = ids("llama", "gpt-2", good, llama_cpp={"token_ids": bad})
    assert [check.reader for check in report.failed] == ["llama.cpp"]


def test_llama_cpp_that_runs_on_fails():
    report = Report()
    llama = {"logits": GOOD, "stops": [True, False]}
    files = {"x.gguf": {"logits": GOOD, "generated": [[2]], "llama_cpp": llama}}
    judge({"x.gguf": "f32"}, {"generated": [[2]], "files": files}, "float32", (2, 0), report)
    assert [(check.name, check.reader) for check in report.failed] == [("end of turn", "llama.cpp")]
