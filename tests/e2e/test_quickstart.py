"""The quickstart, built once: what curation finds, what training gains, what a rebuild does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.train,
    pytest.mark.timeout(2400),
]

RULES = {
    "exact-duplicate": {"exact-duplicate"},
    "near-duplicate": {"near-duplicate"},
    # a refusal in words the filter does not know is no JSON either
    "refusal": {"refusal", "not strict JSON"},
    "empty": {"empty"},
    "truncated": {"truncated"},
    "encoding": {"encoding"},
    "not-json": {"not strict JSON"},
    "contaminated": {"contaminated"},
}


@pytest.fixture(scope="session")
def quickstart(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, make_project: Any
) -> Any:
    """Build the example in a copy, and keep what it printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(
        repository / "examples" / "quickstart",
        folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(".tuneforge", "__pycache__"),
    )
    built = make_project(folder)
    (folder / "printed.txt").write_text(built.run("build"))
    return built


def test_the_data_is_what_the_generator_writes(repository: Path, tmp_path: Path) -> None:
    example = repository / "examples" / "quickstart"
    script = [sys.executable, str(example / "make_data.py"), str(tmp_path)]
    subprocess.run(script, check=True, timeout=120)
    for file in sorted(path for path in (example / "data").rglob("*") if path.is_file()):
        made = tmp_path / file.relative_to(example / "data")
        assert made.read_bytes() == file.read_bytes(), file.name


def test_curation_finds_exactly_what_was_planted(quickstart: Any) -> None:
    planted = json.loads((quickstart.folder / "data" / "planted.json").read_text())
    kinds = {ticket: kind for kind, tickets in planted.items() for ticket in tickets}
    tickets = {}
    for source in ("tickets", "old-desk", "partner"):
        for row in quickstart.rows(f"source.{source}", "records.parquet"):
            tickets[row["id"]] = json.loads(row["meta"])["ticket"]
    ledger = quickstart.rows("dataset.instruct", "ledger.parquet")
    verdicts = {
        tickets[row["id"]]: "" if row["verdict"] == "kept" else row["rule"] for row in ledger
    }
    assert verdicts.keys() == set(tickets.values())
    for ticket, rule in verdicts.items():
        kind = kinds.get(ticket)
        assert rule in RULES[kind] if kind else not rule, (ticket, kind, rule)


def test_held_out_tickets_are_unlike_the_training_ones(quickstart: Any) -> None:
    """No held-out text, layout or run of 13 words is trained on or read by the base."""
    import re

    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[at : at + 13]) for at in range(len(words) - 12)}

    def whole(step: str, file: str) -> list[str]:
        rows = quickstart.rows(step, file)
        return [row["text"] or row["prompt"] for row in rows]

    held = set().union(*map(runs, whole("dataset.benchmark", "kept.parquet")))
    seen = whole("dataset.instruct", "kept.parquet") + whole("dataset.concise", "kept.parquet")
    seen += whole("source.corpus", "records.parquet")
    assert held.isdisjoint(set().union(*map(runs, seen)))


def test_exact_match_rises_by_sixty_points_and_dpo_keeps_it(quickstart: Any) -> None:
    report = quickstart.json("evaluate.heldout", "metrics.json")
    assert report["rows"] == 199
    assert report["metrics"]["exact-match"] >= report["base"]["exact-match"] + 0.6
    assert report["metrics"]["json-valid"] >= 0.95
    assert report["metrics"]["loss"] < report["base"]["loss"]


def test_what_ships(quickstart: Any) -> None:
    exports = quickstart.workspace / "exports"
    assert (exports / "folder" / "model.safetensors").is_file()
    assert (exports / "folder" / "README.md").is_file()
    assert len(list((exports / "gguf").glob("*.gguf"))) == 2
    for name in ("folder", "gguf"):
        quickstart.run("verify", str(exports / name))
    printed = (quickstart.folder / "printed.txt").read_text()
    assert "exact-match" in printed
    assert "exports/gguf" in printed


def test_the_model_answers_in_chat(quickstart: Any) -> None:
    ticket = "Hi, my Atlas router is broken. I use the website. this is urgent. Thanks, Ana"
    system = "Turn the ticket into JSON."
    said = quickstart.run("chat", "--prompt", ticket, "--system", system)
    answer = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert answer.keys() == {"product", "intent", "urgency", "platform"}


def test_a_rebuild_does_nothing_and_loads_no_torch(quickstart: Any) -> None:
    script = (
        "import sys\n"
        "from tuneforge.cli import main\n"
        "code = main(['build'])\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'duckdb'} & set(sys.modules)\n"
        "sys.exit(code or (f'loaded {heavy}' if heavy else 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=quickstart.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


def test_spoiled_answers_end_at_the_gate(
    quickstart: Any, tmp_path: Path, make_project: Any
) -> None:
    """Tickets with each other's answers: training learns nothing, exit 4, nothing is exported."""
    spoiled = make_project(tmp_path)
    shutil.copytree(quickstart.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(tmp_path / ".tuneforge" / "exports")
    for file in sorted((tmp_path / "data" / "tickets").glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        answers = [row["messages"][-1]["content"] for row in rows]
        for row, answer in zip(rows, answers[97:] + answers[:97], strict=True):
            row["messages"][-1]["content"] = answer
        file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    spec = tmp_path / "spec.toml"
    one = 'from = [{ source = "tickets" }, { source = "old-desk" }, { source = "partner" }]'
    assert one in spec.read_text()
    spec.write_text(spec.read_text().replace(one, 'from = [{ source = "tickets" }]'))
    sets = ("--set", "train.triage.args.max_steps=40", "--set", "train.concise.args.max_steps=5")
    said = spoiled.run("build", *sets, code=4)
    assert "exact-match >= 0.8" in said
    assert not list((tmp_path / ".tuneforge").glob("exports/*"))
