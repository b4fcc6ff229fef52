"""Ctrl-C while DuckDB has the process: it stops the build as everywhere else."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

SPEC = """
spec = 1
[build]
name = "slow"
[sources.slow]
sql = '''SELECT 'a' AS instruction, 'b ' || n AS output FROM (SELECT count(*) AS n
FROM range(30000) a, range(20000) b WHERE hash(a.range + b.range) % 7 = 0)'''
[base]
model = "model"
"""


def started(tmp_path: Path) -> subprocess.Popen[str]:
    """Start a build and wait until its query runs."""
    (tmp_path / "spec.toml").write_text(SPEC)
    (tmp_path / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "model" / name).write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    build = subprocess.Popen(
        [sys.executable, "-m", "tuneforge", "build", "--only", "source.slow"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a background job of a shell ignores Ctrl-C, and its children would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    log = tmp_path / ".tuneforge" / "builds"
    end = time.monotonic() + 60
    while not any("step_started" in file.read_text() for file in log.glob("*/events.jsonl")):
        assert time.monotonic() < end
        assert build.poll() is None, build.communicate()[0]
        time.sleep(0.05)
    time.sleep(1)  # into the query
    return build


def test_interrupting_a_query_stops_the_build_cleanly(tmp_path: Path) -> None:
    build = started(tmp_path)
    build.send_signal(signal.SIGINT)
    said, _ = build.communicate(timeout=60)
    assert build.returncode == 130, said
    assert "interrupted" in said
    (events,) = (tmp_path / ".tuneforge" / "builds").glob("*/events.jsonl")
    assert json.loads(events.read_text().splitlines()[-1])["event"] == "interrupted"
    assert not list((tmp_path / ".tuneforge" / "artifacts").glob("source/*/*"))


def test_an_impatient_user_sees_no_traceback(tmp_path: Path) -> None:
    build = started(tmp_path)
    while build.poll() is None:
        build.send_signal(signal.SIGINT)
        time.sleep(0.02)
    said, _ = build.communicate(timeout=60)
    assert build.returncode == 130, said
    assert "Traceback" not in said
    assert "interrupted" in said
