"""The judge, asked over real HTTP: a stub server answers as endpoints do on good and bad days."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow.parquet as pq
import pytest
from tuneforge_datastore import judging
from tuneforge_datastore.judging import parse
from tuneforge_specs.errors import DataError, EnvironmentMissing
from tuneforge_specs.filters import JudgeFilter

Answer = tuple[int, str, dict[str, str]]


def completion(content: Any) -> Answer:
    return 200, json.dumps({"choices": [{"message": {"content": content}}]}), {}


def by_digit(asked: dict[str, Any], _count: int) -> Answer:
    """Score a completion "answer 7" with 7."""
    record = json.loads(asked["messages"][1]["content"].split("Record:\n")[1])
    return completion(
        json.dumps({"score": int(record["completion"].split()[-1]), "reason": "by its digit"})
    )


@dataclass
class Stub:
    """A server, what it was asked, and how it answers."""

    url: str
    answer: Callable[[dict[str, Any], int], Answer] = by_digit
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(judging, "PAUSE", 0.001)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server_state.asked.append(body)
                server_state.headers.append(dict(self.headers))
                server_state.paths.append(self.path)
                count = len(server_state.asked)
            status, text, headers = server_state.answer(body, count)
            raw = text.encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server_state = Stub(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server_state
    server.shutdown()
    server.server_close()


def judge(bench: Any, stub: Stub, count: int = 10, **keys: Any) -> dict[str, Any]:
    """Judge "answer 0", "answer 1", ...; give the ledger by id."""
    rows = [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(count)]
    spec = {"kind": "judge", "url": stub.url, "model": "m", "rubric": "Be useful.", "min": 4.0}
    bench.curate({"s": bench.source("s", rows)}, filters=[spec | keys])
    ledger = pq.read_table(bench.folder / "dataset" / "ledger.parquet").to_pylist()
    return {row["id"]: row for row in ledger}


def test_drops_below_min_and_notes_every_score(bench: Any, stub: Stub) -> None:
    ledger = judge(bench, stub)
    assert [row["id"] for row in bench.kept()] == [f"s:{n}" for n in range(4, 10)]
    low, fine = ledger["s:1"], ledger["s:7"]
    assert (low["verdict"], low["rule"], low["score"]) == ("dropped", "judge", 1.0)
    assert (low["reason"], low["evidence"]) == ("scored 1, below 4", "by its digit")
    assert (fine["verdict"], fine["rule"], fine["score"]) == ("kept", "judge", 7.0)
    assert stub.paths == ["/v1/chat/completions"] * 10
    assert stub.asked[0]["model"] == "m"
    assert "Be useful." in stub.asked[0]["messages"][1]["content"]
    assert "Authorization" not in stub.headers[0]


def test_a_record_is_paid_for_once(bench: Any, stub: Stub) -> None:
    first = judge(bench, stub)
    assert judge(bench, stub) == first
    assert len(stub.asked) == 10
    # Another threshold costs nothing; another rubric or model asks again.
    judge(bench, stub, min=2.0, budget=1, concurrency=1, timeout=5.0)
    assert len(stub.asked) == 10
    judge(bench, stub, rubric="Be brief.")
    judge(bench, stub, model="other")
    assert len(stub.asked) == 30


def test_damaged_answers_on_disk_are_asked_for_anew(bench: Any, stub: Stub) -> None:
    first = judge(bench, stub, 6)
    files = sorted((bench.folder / "tmp" / "cache" / "judge").rglob("*.json"))
    assert len(files) == 6
    files[0].write_text("{")
    assert judge(bench, stub, 6) == first
    assert len(stub.asked) == 7


@pytest.mark.parametrize("status", [429, 500, 503])
def test_failures_that_pass_are_repeated(bench: Any, stub: Stub, status: int) -> None:
    def answer(asked: dict[str, Any], count: int) -> Answer:
        return (status, "busy", {"Retry-After": "0"}) if count % 2 else by_digit(asked, count)

    stub.answer = answer
    ledger = judge(bench, stub, 6, concurrency=1)
    assert [row["score"] for row in ledger.values()] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(stub.asked) == 12


def test_the_endpoint_says_how_long_to_wait(
    bench: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(judging.time, "sleep", waited.append)
    stub.answer = lambda asked, count: (
        (429, "", {"Retry-After": "7"}) if count == 1 else by_digit(asked, count)
    )
    judge(bench, stub, 6, concurrency=1)
    assert waited == [7.0]


def test_failures_that_stay_end_the_build_and_keep_what_was_judged(bench: Any, stub: Stub) -> None:
    stub.answer = lambda asked, count: by_digit(asked, count) if count <= 5 else (500, "", {})
    with pytest.raises(EnvironmentMissing, match=r"filters\[0\].*failed 3 times: HTTP 500"):
        judge(bench, stub, 8, concurrency=1, retries=2)
    asked = len(stub.asked)
    assert asked == 8
    stub.answer = by_digit
    judge(bench, stub, 8)
    assert len(stub.asked) == asked + 3


def test_a_server_that_is_not_there(bench: Any, stub: Stub) -> None:
    with pytest.raises(EnvironmentMissing, match="failed 2 times"):
        judge(bench, stub, url="http://127.0.0.1:9/v1", retries=1)


def test_answers_without_a_score_are_repeated_then_dropped(bench: Any, stub: Stub) -> None:
    def answer(asked: dict[str, Any], count: int) -> Answer:
        if '"answer 5"' in asked["messages"][1]["content"]:
            return completion("I would rather not say.")
        return by_digit(asked, count)

    stub.answer = answer
    row = judge(bench, stub, 7, retries=2)["s:5"]
    assert (row["verdict"], row["score"]) == ("dropped", None)
    assert row["reason"] == "the judge gave no score"
    assert row["evidence"] == "I would rather not say."
    assert len(stub.asked) == 6 + 3


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"score": 7, "reason": "r"}', 7.0),
        ('Sure!\n```json\n{"reason": "{ok}", "score": "6.5"}\n```', 6.5),
        ('{"a": 1} then {"score": 3}', 3.0),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ('{"score": 1e999}', None),
        ('{"score": "high"}', None),
        ("{" * 30_000, None),
        ("7", None),
        ("", None),
    ],
)
def test_what_counts_as_a_score(answer: str, score: float | None) -> None:
    found = parse(answer)
    assert (found and found.score) == score


@pytest.mark.parametrize("body", ["not json", "[]", '{"choices": []}', '{"choices": [{}]}'])
def test_answers_of_another_shape(bench: Any, stub: Stub, body: str) -> None:
    stub.answer = lambda asked, count: (200, body, {}) if count == 1 else by_digit(asked, count)
    assert judge(bench, stub, 6, concurrency=1)["s:0"]["score"] == 0.0
    assert len(stub.asked) == 7


def test_a_spent_budget_loses_nothing(bench: Any, stub: Stub) -> None:
    with pytest.raises(DataError, match="budget of 4 requests is spent; 4 of 10") as caught:
        judge(bench, stub, budget=4)
    assert "build again" in caught.value.fix
    assert len(stub.asked) == 4
    with pytest.raises(DataError, match="8 of 10"):
        judge(bench, stub, budget=4, concurrency=1)
    assert len(judge(bench, stub, budget=4)) == 10
    assert len(stub.asked) == 10


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(
    bench: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvironmentMissing, match="MY_KEY is not set"):
        judge(bench, stub, key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "very-secret")
    judge(bench, stub, key_env="MY_KEY")
    assert {one["Authorization"] for one in stub.headers} == {"Bearer very-secret"}
    written = [file for file in bench.folder.rglob("*") if file.is_file()]
    assert not [file for file in written if b"very-secret" in file.read_bytes()]
    stub.answer = lambda _asked, _count: (401, "bad key very-secret", {})
    with pytest.raises(EnvironmentMissing, match=r"refuses: HTTP 401.*bad key \*\*\*"):
        judge(bench, stub, key_env="MY_KEY", model="other")


def test_a_redirect_does_not_take_the_key_along(
    bench: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret")
    stub.answer = lambda _asked, _count: (307, "", {"Location": f"{stub.url}/elsewhere"})
    with pytest.raises(EnvironmentMissing, match="HTTP 307"):
        judge(bench, stub, 5, key_env="MY_KEY", concurrency=1)
    assert len(stub.asked) == 1


def test_requests_run_side_by_side(bench: Any, stub: Stub) -> None:
    barrier = threading.Barrier(5, timeout=20)

    def answer(asked: dict[str, Any], count: int) -> Answer:
        barrier.wait()  # breaks unless five are under way at once
        return by_digit(asked, count)

    stub.answer = answer
    judge(bench, stub, 10, concurrency=5)
    assert not barrier.broken


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x", "localhost:80"])
def test_only_http(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        JudgeFilter.model_validate(
            {"kind": "judge", "url": url, "model": "m", "rubric": "r", "min": 1.0}
        )
