"""Instruction and text records as token ids with loss masks, each checked before it is written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Encoding
from tuneforge_specs.datasets import Template
from tuneforge_specs.errors import DataError

from tuneforge_datastore.render.masks import tokens_of
from tuneforge_datastore.render.overflow import cut_left, parts, pieces, without_middle
from tuneforge_datastore.render.templating import Fitted
from tuneforge_datastore.render.vocabulary import Vocabulary
from tuneforge_datastore.templates.conversation import Conversation, conversation

Record = Mapping[str, Any]


@dataclass
class Row:
    """A rendered record, or a part of one.

    ``verdict`` is 'whole', 'truncated', 'split' for a part or, with no ids, 'dropped'. ``endings``
    are the tokens that its trained turns were seen to end with, cut or not.
    """

    record_id: str
    split: str
    verdict: str = "whole"
    reason: str = ""
    n_tokens: int = 0
    ids: list[int] = field(default_factory=list)
    mask: bytearray = field(default_factory=bytearray)
    prompt_ids: list[int] = field(default_factory=list)
    reference: str = ""
    endings: set[int] = field(default_factory=set)

    @property
    def n_supervised(self) -> int:
        """Count the tokens that are trained."""
        return sum(self.mask)

    def drop(self, reason: str) -> None:
        """Leave the record out, saying why."""
        self.verdict, self.reason = "dropped", reason
        self.ids, self.mask, self.prompt_ids = [], bytearray(), []


@dataclass(frozen=True)
class Rules:
    """What every renderer needs: the spec's template table, the tokenizer, the fitted template."""

    spec: Template
    vocabulary: Vocabulary
    fitted: Fitted
    control: re.Pattern[str] | None
    special: frozenset[int]

    @classmethod
    def of(cls, spec: Template, vocabulary: Vocabulary, fitted: Fitted) -> "Rules":
        """Put the rules together."""
        names = sorted(fitted.control, key=len, reverse=True)
        control = re.compile("|".join(map(re.escape, names))) if names else None
        return cls(spec, vocabulary, fitted, control, frozenset(vocabulary.special.values()))

    def intruder(self, talk: Conversation) -> str:
        """Find a control token written in a message; tokenised, it would end or open a turn."""
        if self.control:
            for message in talk.messages:
                for text in (message["content"], str(message.get("tool_calls", ""))):
                    if found := self.control.search(text):
                        return found.group()
        return ""

    def check_bos(self, ids: Sequence[int]) -> None:
        """Raise ``DataError`` unless the ids begin with one BOS where the model wants it."""
        bos, where = self.vocabulary.bos, self.fitted.template.where
        if bos is None or not ids:
            return
        if len(ids) > 1 and ids[0] == ids[1] == bos:
            raise DataError(
                f"the chat template {where} begins with two BOS tokens",
                "take one {{ bos_token }} out of the template, or the BOS text out of the data",
            )
        # The authors of a model decide whether its own template begins with BOS.
        if self.vocabulary.wants_bos and ids[0] != bos and self.spec.chat != "tokenizer":
            raise DataError(
                f"the tokenizer begins every text with BOS, and the chat template {where} does not",
                "begin the template with {{ bos_token }}",
            )

    def check_terminator(self, token: int, row: Row) -> None:
        """Note what ends a turn; raise ``DataError`` unless it is a token that stops generation."""
        expected = self.fitted.terminator
        if token == expected or (expected is None and token in self.special):
            row.endings.add(token)
            return
        raise DataError(
            f"the chat template {self.fitted.template.where} does not end the assistant's turn "
            f"with a special token (but with {self.vocabulary.decode([token])!r}), so the model "
            "would not learn to stop",
            "write {{ eos_token }} or the end-of-turn token after the assistant's content, inside "
            "the {% generation %} block if the template has one",
        )

    def fits(self, row: Row, tokens: int) -> bool:
        """Note the length; True if it is within ``max_tokens``. Else drop or raise as declared."""
        row.n_tokens = tokens
        if tokens <= self.spec.max_tokens:
            return True
        reason = f"{tokens:,} tokens, more than max_tokens = {self.spec.max_tokens:,}"
        if self.spec.overflow == "error":
            raise DataError(
                f"the record has {reason}",
                "raise template.max_tokens, or set template.overflow to 'drop' or 'truncate'",
            )
        if self.spec.overflow in ("truncate", "truncate-left"):
            row.verdict, row.reason = "truncated", reason
        else:
            row.drop(reason)
        return False

    def kept(self, ids: list[int], limit: int) -> list[int]:
        """Give the places of the ids that stay when some are cut to leave ``limit``."""
        if self.spec.overflow == "truncate-left":
            return cut_left(ids, limit, self.vocabulary.bos)
        return list(range(min(limit, len(ids))))


def assistant_turns(talk: Conversation) -> list[int]:
    """Give the places of the assistant's turns."""
    return [i for i, message in enumerate(talk.messages) if message["role"] == "assistant"]


def trained_turns(talk: Conversation, train_on: str) -> list[int]:
    """Give the places of the turns that are trained: by the spec, and by each message's weight."""
    for weight in talk.weights:
        if weight not in (0.0, 1.0):
            raise DataError(f"a message has weight {weight}", "give messages weight 0 or 1")
    turns = assistant_turns(talk)
    if train_on == "last":
        turns = turns[-1:]
    return [turn for turn in turns if talk.weights[turn] > 0]


@dataclass
class _Draft:
    """A conversation on its way to tokens."""

    record: Record
    row: Row
    text: str
    trained: list[tuple[int, int]]
    untrained: list[tuple[int, int]]
    prompt: str = ""


def instruction_rows(records: Sequence[Record], rules: Rules) -> list[Row]:
    """Render instruction records; one that is split gives several rows, one after the other.

    Raises ``DataError`` naming the record that cannot be rendered.
    """
    rows: list[Row] = []
    drafts: list[_Draft] = []
    for record in records:
        with_name(record, lambda record=record: rows.append(_draft(record, rules, drafts)))
    _tokenise(drafts, rules)
    if rules.spec.overflow not in ("truncate-middle", "split"):
        return rows
    long = {
        draft.row.record_id: draft
        for draft in drafts
        if draft.row.verdict == "dropped" and draft.row.n_tokens > rules.spec.max_tokens
    }
    return [
        part
        for row in rows
        for part in (_shortened(long[row.record_id], rules) if row.record_id in long else [row])
    ]


def _tokenise(drafts: Sequence[_Draft], rules: Rules) -> None:
    texts = [draft.text for draft in drafts]
    prompts = [draft.prompt for draft in drafts if draft.prompt]
    encodings = rules.vocabulary.encode([*texts, *prompts])
    after = iter(encodings[len(texts) :])
    for draft, encoding in zip(drafts, encodings, strict=False):
        if draft.prompt:
            draft.row.prompt_ids = next(after).ids
        with_name(draft.record, lambda d=draft, e=encoding: _finish(d, e, rules))


def _alone(record: Record, turns: Sequence[Any], rules: Rules) -> Row:
    """Render a record with other turns than its own."""
    drafts: list[_Draft] = []
    row = _draft({**record, "messages": turns}, rules, drafts)
    _tokenise(drafts, rules)
    return row


def _shortened(draft: _Draft, rules: Rules) -> list[Row]:
    """Leave out turns in the middle, or split the conversation, as declared."""
    record, whole = draft.record, draft.row
    if rules.spec.overflow == "split":
        return _split(record, whole, rules)
    for turns, count in without_middle(record["messages"]):
        if not _trains(record, turns, rules):
            continue
        row = _alone(record, turns, rules)
        if row.verdict == "whole":
            row.verdict, row.n_tokens = "truncated", whole.n_tokens
            row.reason = f"{whole.reason}; {count} turns in the middle are left out"
            return [row]
    whole.drop(f"{whole.reason}; too long without the turns in the middle, too")
    return [whole]


def _trains(record: Record, turns: Sequence[Any], rules: Rules) -> bool:
    talk = conversation(record, turns, rules.spec.system)
    return rules.spec.train_on == "all" or bool(trained_turns(talk, rules.spec.train_on))


def _split(record: Record, whole: Row, rules: Rules) -> list[Row]:
    """Render each run of whole exchanges that fits; a part that trains nothing is left out."""

    def fits(turns: Sequence[Any]) -> bool:
        talk = conversation(record, turns, rules.spec.system)
        text = rules.fitted.template.render(talk.messages, talk.tools)
        return len(rules.vocabulary.encode([text])[0].ids) <= rules.spec.max_tokens

    found = [turns for turns in parts(record["messages"], fits) if _trains(record, turns, rules)]
    rows = [_alone(record, turns, rules) for turns in found]
    for number, row in enumerate(rows, 1):
        part = f"part {number} of {len(rows)}: {whole.reason}"
        if row.verdict == "whole":
            row.verdict, row.reason = "split", part
        elif len(rows) > 1:
            row.drop(f"part {number} of {len(rows)}: one exchange of {row.reason}")
    return rows or [whole]


def with_name(record: Record, action: Any) -> None:
    """Run ``action``; a ``DataError`` in it names the record."""
    try:
        action()
    except DataError as error:
        raise DataError(f"record {record['id']}: {error.message}", error.fix) from error


def _draft(record: Record, rules: Rules, drafts: list[_Draft]) -> Row:
    talk = conversation(record, record["messages"], rules.spec.system)
    row = Row(record["id"], record["split"])
    if intruder := rules.intruder(talk):
        row.drop(f"the text contains the control token {intruder}")
        return row
    said = assistant_turns(talk)
    turns = trained_turns(talk, rules.spec.train_on)
    # Turns outside the mask matter only where everything else is trained.
    silent = [turn for turn in said if turn not in turns] if rules.spec.train_on == "all" else []
    evaluated = row.split == "eval" and bool(said)
    last = said[-1:] if evaluated and said[-1] not in turns else []
    rendered = rules.fitted.template.locate(talk, [*turns, *silent, *last])
    spans = rendered.spans
    draft = _Draft(
        record,
        row,
        rendered.text,
        spans[: len(turns)],
        spans[len(turns) : len(turns) + len(silent)],
    )
    if evaluated:
        draft.prompt = rules.fitted.template.prompt(talk, said[-1])
        start, end = spans[-1] if last else spans[len(turns) - 1]
        if not rendered.text.startswith(draft.prompt) or len(draft.prompt) > end:
            raise DataError(
                f"the chat template {rules.fitted.template.where} writes the conversation before "
                "the last assistant turn differently as a prompt than in the whole, so the model "
                "would be evaluated on what it was not trained on",
                "use a shipped template, for example chat = 'chatml'",
            )
        row.reference = _without_ending(rendered.text[start:end], rules)
    drafts.append(draft)
    return row


def _without_ending(said: str, rules: Rules) -> str:
    """Take the terminator off what the assistant says."""
    for token in rules.vocabulary.special:
        if said.endswith(token):
            return said[: -len(token)].strip()
    return said.strip()


def _finish(draft: _Draft, encoding: Encoding, rules: Rules) -> None:
    row, ids = draft.row, encoding.ids
    rules.check_bos(ids)
    mask = bytearray(len(ids))
    if rules.spec.train_on == "all" and ids:
        mask = bytearray(b"\1" * len(ids))
        mask[0] = int(ids[0] != rules.vocabulary.bos)
        for start, end in draft.untrained:
            first, stop = tokens_of(encoding, start, end, rules.special)
            mask[first:stop] = bytes(stop - first)
    for start, end in draft.trained:
        first, stop = tokens_of(encoding, start, end, rules.special)
        if first == stop:
            raise DataError(
                f"the chat template {rules.fitted.template.where} writes nothing for a turn of "
                "the assistant",
                "correct the template, or use a shipped one, for example chat = 'chatml'",
            )
        rules.check_terminator(ids[stop - 1], row)
        mask[first:stop] = b"\1" * (stop - first)
    if not any(mask):
        raise DataError(
            "no token of the record would be trained",
            "give it an assistant turn of weight 1, or filter such records out",
        )
    if rules.fits(row, len(ids)):
        row.ids, row.mask = ids, mask
    elif row.verdict == "truncated":
        _truncate(row, ids, mask, rules)


def _truncate(row: Row, ids: list[int], mask: bytearray, rules: Rules) -> None:
    places = rules.kept(ids, rules.spec.max_tokens)
    row.ids, row.mask = [ids[place] for place in places], bytearray(mask[p] for p in places)
    if not any(row.mask):
        row.drop(f"{row.reason}; nothing trained is left before the cut")
    elif row.prompt_ids and rules.spec.overflow == "truncate-left":
        # The held-out answer is asked for with what is left of the prompt.
        row.prompt_ids = [row.prompt_ids[p] for p in places if p < len(row.prompt_ids)]
        if len(row.prompt_ids) <= (places[0] == 0):
            row.drop(f"{row.reason}; nothing of the prompt is left behind the cut")


def text_rows(records: Sequence[Record], rules: Rules) -> list[Row]:
    """Render text records: BOS where the model wants it, the text, EOS; all but BOS is trained."""
    vocabulary = rules.vocabulary
    if vocabulary.eos is None:
        raise DataError(
            f"the tokenizer in {vocabulary.folder} has no end-of-sequence token to end a text with",
            "set eos_token in tokenizer_config.json to a special token of tokenizer.json",
        )
    begin = [vocabulary.bos] if vocabulary.wants_bos and vocabulary.bos is not None else []
    rows = []
    for record, encoding in zip(
        records, vocabulary.encode([record["text"] for record in records]), strict=True
    ):
        row = Row(record["id"], record["split"])
        rows.append(row)
        ids = [*begin, *encoding.ids, vocabulary.eos]
        mask = bytearray(len(begin)) + b"\1" * (len(ids) - len(begin))
        with_name(record, lambda row=row, ids=ids: rules.fits(row, len(ids)))
        if row.n_tokens > rules.spec.max_tokens and rules.spec.overflow == "split":
            rows[-1:] = _pieces(row, ids, len(begin), rules)
        elif row.verdict != "dropped":
            places = rules.kept(ids, rules.spec.max_tokens)
            row.ids, row.mask = [ids[p] for p in places], bytearray(mask[p] for p in places)
    return rows


def _pieces(whole: Row, ids: list[int], begins: int, rules: Rules) -> list[Row]:
    """Cut a text into rows that fit; each begins as a text does, the last ends as one."""
    ranges = list(pieces(len(ids), rules.spec.max_tokens, begins))
    rows = []
    for number, places in enumerate(ranges, 1):
        row = Row(whole.record_id, whole.split, "split")
        row.reason = f"part {number} of {len(ranges)}: {whole.reason}"
        row.ids = [*ids[:begins], *(ids[place] for place in places)]
        row.mask = bytearray(begins) + b"\1" * len(places)
        row.n_tokens = len(row.ids)
        rows.append(row)
    return rows
