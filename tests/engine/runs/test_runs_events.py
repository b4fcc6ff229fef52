"""The event log, whole and torn."""

import json
import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tuneforge.runs.events import EventReader, EventWriter, read_events, repair


def written(path: Path, *events: str) -> Path:
    writer = EventWriter(path)
    for event in events:
        writer.emit(event, text="häß\nlich", n=1)
    writer.close()
    return path


def test_events_come_back_in_order_with_version_and_time(tmp_path):
    events = read_events(written(tmp_path / "e", "started", "step", "done"))
    assert [e["event"] for e in events] == ["started", "step", "done"]
    assert all(e["v"] == 1 and e["t"] > 0 and e["text"] == "häß\nlich" for e in events)


def test_numbers_that_json_lacks_become_null(tmp_path):
    writer = EventWriter(tmp_path / "e")
    writer.emit("step", loss=math.nan, nested={"a": [math.inf, 1.0]})
    line = json.loads((tmp_path / "e").read_text())
    assert line["loss"] is None
    assert line["nested"] == {"a": [None, 1.0]}


def test_a_torn_last_line_waits_for_its_rest(tmp_path):
    path = written(tmp_path / "e", "started", "step")
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    reader = EventReader(path)
    assert [e["event"] for e in reader.read()] == ["started"]
    path.write_bytes(data)
    assert [e["event"] for e in reader.read()] == ["step"]
    assert reader.read() == []


def test_no_log_has_no_events(tmp_path):
    assert read_events(tmp_path / "none") == []
    assert repair(tmp_path / "none") == 0


def test_damage_in_mid_file_is_passed_over(tmp_path):
    path = written(tmp_path / "e", "started")
    with path.open("ab") as file:
        file.write(b"\0\0\0\0\n[1]\n")
    written(path, "done")
    assert [e["event"] for e in read_events(path)] == ["started", "done"]


@given(cut=st.integers(min_value=0, max_value=400))
def test_after_repair_a_log_cut_anywhere_goes_on(tmp_path_factory, cut):
    path = written(tmp_path_factory.mktemp("log") / "e", "started", "step", "checkpoint")
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    assert repair(path) == data.rfind(b"\n") + 1
    written(path, "done")
    names = [e["event"] for e in read_events(path)]
    assert names == [*["started", "step", "checkpoint"][: data.count(b"\n")], "done"]
