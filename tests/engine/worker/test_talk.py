"""Answers of a loaded model, against transformers' own generation."""

import dataclasses
import json
from pathlib import Path

import pytest

from tuneforge.chat.speaker import Speaker, speaker_in_folder

pytestmark = pytest.mark.train

TURNS = [{"role": "user", "content": "what follows two"}]


@pytest.fixture(scope="module")
def speaker(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    """The tiny base with a chat template of its own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("talks")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder)
    return speaker_in_folder(folder)


def generated(speaker: Speaker, count: int) -> list[int]:
    """The likeliest tokens after the turns, without any end."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(speaker.model)
    ids = tokenizer.apply_chat_template(
        TURNS, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(speaker.model)
    model.generation_config.eos_token_id = None
    made = model.generate(ids, max_new_tokens=count, do_sample=False, pad_token_id=0)
    return list(made[0, ids.shape[1] :].tolist())


def test_an_answer_is_what_the_model_generates_and_says_how_it_ended(speaker: Speaker) -> None:
    from transformers import AutoTokenizer

    from tuneforge.worker.talk import Talker

    tokenizer = AutoTokenizer.from_pretrained(speaker.model)
    expected = generated(speaker, 12)
    never = next(token for token in range(len(tokenizer)) if token not in expected)
    pieces: list[str] = []
    cut = Talker(
        dataclasses.replace(speaker, terminators=(never,)), device="cpu", dtype="float32"
    ).say(TURNS, pieces.append, max_new_tokens=12, temperature=0.0)
    assert cut.text == tokenizer.decode(expected, skip_special_tokens=True)
    assert (cut.tokens, cut.ended) == (12, False)
    assert "".join(pieces) == cut.text
    assert all(pieces)
    at = max(expected.index(token) for token in expected)
    ended = Talker(
        dataclasses.replace(speaker, terminators=(expected[at],)), device="cpu", dtype="float32"
    ).say(TURNS, pieces.append, max_new_tokens=12, temperature=0.0)
    assert (ended.tokens, ended.ended) == (at + 1, True)
    assert ended.text == tokenizer.decode(expected[:at], skip_special_tokens=True)


def test_programs_talk_in_lines(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tuneforge.cli import main

    requests = [{"say": "what follows two"}, {"reset": True}, {"say": " "}]
    lines = [*map(json.dumps, requests), "no request", json.dumps({"say": "what follows two"})]
    monkeypatch.setattr("sys.stdin", iter(f"{line}\n" for line in lines))
    told = ["chat", str(speaker.model), "--json", "--max-new-tokens", "5"]
    assert main(told) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [event["event"] for event in events if event["event"] != "piece"]
    assert names == ["loading", "ready", "answer", "reset", "refused", "refused", "answer"]
    first, again = (event for event in events if event["event"] == "answer")
    assert first["text"] == again["text"]  # what was said before is forgotten
    assert first["tokens"] == 5
    assert main([*told, "--prompt", "what follows two"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": speaker.name,
        "text": first["text"],
        "tokens": first["tokens"],
        "ended": first["ended"],
    }
