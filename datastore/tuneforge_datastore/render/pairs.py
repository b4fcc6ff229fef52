"""Preference pairs and labelled completions as prompt and completion ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneforge_specs.errors import DataError

from tuneforge_datastore.render.masks import cuts_between
from tuneforge_datastore.render.overflow import without_middle
from tuneforge_datastore.render.rows import Record, Row, Rules, assistant_turns, with_name
from tuneforge_datastore.templates.conversation import conversation


@dataclass
class Answers:
    """One prompt and its completions: chosen and rejected, or a single one with its label."""

    row: Row
    prompt: str = ""
    texts: list[str] = field(default_factory=list)
    prompt_ids: list[int] = field(default_factory=list)
    completion_ids: list[list[int]] = field(default_factory=list)
    label: bool = False


def pair_rows(records: Sequence[Record], rules: Rules) -> list[Answers]:
    """Render preference records: the completions are ``[chosen, rejected]``."""
    return _answers(
        records,
        rules,
        lambda record: [(record["messages"], record[side]) for side in ("chosen", "rejected")],
    )


def unpaired_rows(records: Sequence[Record], rules: Rules) -> list[Answers]:
    """Render labelled records: the one completion is the last assistant turn."""

    def parts(record: Record) -> list[tuple[list[Any], list[Any]]]:
        turns = list(record["messages"])
        return [(turns[:-1], turns[-1:])]

    rendered = _answers(records, rules, parts)
    for record, answers in zip(records, rendered, strict=True):
        answers.label = bool(record["label"])
    return rendered


def _answers(records: Sequence[Record], rules: Rules, parts: Any) -> list[Answers]:
    rendered = _rendered(records, rules, parts)
    if rules.spec.overflow != "truncate-middle":
        return rendered
    return [
        _shortened(record, answers, rules, parts)
        if answers.row.n_tokens > rules.spec.max_tokens
        else answers
        for record, answers in zip(records, rendered, strict=True)
    ]


def _rendered(records: Sequence[Record], rules: Rules, parts: Any) -> list[Answers]:
    rendered: list[Answers] = []
    for record in records:
        answers = Answers(Row(record["id"], record["split"]))
        rendered.append(answers)
        with_name(record, lambda r=record, a=answers: _draft(r, a, parts(r), rules))
    _tokenise([answers for answers in rendered if answers.texts], rules)
    for answers in rendered:
        if answers.texts:
            with_name({"id": answers.row.record_id}, lambda a=answers: _finish(a, rules))
    return rendered


def _shortened(record: Record, whole: Answers, rules: Rules, parts: Any) -> Answers:
    """Leave out turns in the middle of the prompt until prompt and answers fit."""
    reason = whole.row.reason
    for turns, count in without_middle(record["messages"]):
        (answers,) = _rendered([{**record, "messages": turns}], rules, parts)
        if answers.row.verdict == "whole":
            answers.row.verdict, answers.row.n_tokens = "truncated", whole.row.n_tokens
            answers.row.reason = f"{reason}; {count} turns in the middle are left out"
            return answers
    whole.row.drop(f"{reason}; too long without the turns in the middle, too")
    return whole


def _draft(
    record: Record,
    answers: Answers,
    parts: list[tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]],
    rules: Rules,
) -> None:
    """Render the texts: the prompt, and each completion up to its terminator."""
    template = rules.fitted.template
    prompts, texts = [], []
    for turns, answer in parts:
        talk = conversation(record, [*turns, *answer], rules.spec.system)
        if intruder := rules.intruder(talk):
            answers.row.drop(f"the text contains the control token {intruder}")
            return
        last = len(talk.messages) - 1
        if not answer or assistant_turns(talk)[-1:] != [last]:
            raise DataError(
                "a completion does not end with an assistant turn",
                "filter such records out, or map the columns that hold the answers",
            )
        rendered = template.locate(talk, [last])
        prompt = template.prompt(talk, len(talk.messages) - len(answer))
        end = rendered.spans[0][1]
        if not rendered.text.startswith(prompt) or end < len(prompt):
            raise DataError(
                f"the chat template {template.where} writes a prompt differently once it is "
                "answered",
                "use a shipped template, for example chat = 'chatml'",
            )
        prompts.append(prompt)
        texts.append(rendered.text[:end])
    answers.prompt, answers.texts = prompts[0], texts


def _tokenise(drafts: list[Answers], rules: Rules) -> None:
    """Tokenise each whole text and cut it at the prompt's end.

    Where a token lies across that end in any of the texts, prompt and completions are tokenised
    apart, as they will be when the model is asked: one prompt for all completions.
    """
    encodings = iter(rules.vocabulary.encode([text for draft in drafts for text in draft.texts]))
    for draft in drafts:
        whole = [next(encodings) for _ in draft.texts]
        cuts = [cuts_between(encoding, len(draft.prompt)) for encoding in whole]
        heads = [encoding.ids[:cut] for encoding, cut in zip(whole, cuts, strict=True)]
        if None not in cuts and all(head == heads[0] for head in heads):
            draft.prompt_ids = heads[0]
            draft.completion_ids = [e.ids[cut:] for e, cut in zip(whole, cuts, strict=True)]
        else:
            ends = [text[len(draft.prompt) :] for text in draft.texts]
            apart = rules.vocabulary.encode([draft.prompt, *ends])
            draft.prompt_ids = apart[0].ids
            draft.completion_ids = [encoding.ids for encoding in apart[1:]]


def _finish(answers: Answers, rules: Rules) -> None:
    row, prompt, completions = answers.row, answers.prompt_ids, answers.completion_ids
    rules.check_bos([*prompt, *completions[0][:2]])
    for ids in completions:
        if not ids:
            raise DataError(
                f"the chat template {rules.fitted.template.where} writes nothing for a completion",
                "correct the template, or use a shipped one, for example chat = 'chatml'",
            )
        rules.check_terminator(ids[-1], row)
    if not rules.fits(row, len(prompt) + max(map(len, completions))):
        room = rules.spec.max_tokens - len(prompt)
        if row.verdict == "truncated" and rules.spec.overflow == "truncate-left":
            _cut_prompt(answers, rules)
        elif row.verdict == "truncated" and room > 0:
            answers.completion_ids = [ids[:room] for ids in completions]
        elif row.verdict == "truncated":
            row.drop(f"{row.reason}; the prompt alone fills them")
    if row.verdict == "dropped":
        answers.prompt_ids, answers.completion_ids = [], []


def _cut_prompt(answers: Answers, rules: Rules) -> None:
    """Cut the beginning of the prompt, so that the longer answer fits behind it."""
    room = rules.spec.max_tokens - max(map(len, answers.completion_ids))
    begins = int(answers.prompt_ids[:1] == [rules.vocabulary.bos])
    if room <= begins:
        answers.row.drop(f"{answers.row.reason}; an answer alone fills them")
        return
    answers.prompt_ids = [answers.prompt_ids[p] for p in rules.kept(answers.prompt_ids, room)]
