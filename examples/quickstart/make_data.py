"""Write the quickstart's raw data: the same bytes from the same seed. Standard library only.

    python examples/quickstart/make_data.py [FOLDER]

Support tickets with the strict JSON that a desk wants from them. The training rows hold planted
faults, listed by ticket in ``planted.json`` so that a test can ask whether curation found them; no
build reads that file. Held-out tickets (``heldout.jsonl``) use layouts, greetings and wordings of
urgency that no other file has, and in two of five rows a pair of product and intent that no row to
train on has: of those only the base reads, in its corpus.
"""

import csv
import gzip
import io
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import wording as w

SEED = 2024
MESSAGES_ROWS, CSV_ROWS, ALPACA_ROWS = 1500, 900, 500
HELDOUT_ROWS, PREFERENCE_ROWS = 200, 320
NOTED_ROWS, BOOK_ROWS, JSON_ROWS = 2600, 1000, 1000
PLANTED = {
    "exact-duplicate": 120,
    "near-duplicate": 110,
    "refusal": 60,
    "empty": 40,
    "truncated": 50,
    "encoding": 55,
    "not-json": 45,
    "contaminated": 40,
}

Slots = tuple[str, str, str, str]


@dataclass(frozen=True)
class Ticket:
    """A ticket's text and the four facts in it: product, intent, urgency, platform."""

    text: str
    slots: Slots

    @property
    def answer(self) -> str:
        product, intent, urgency, platform = self.slots
        return json.dumps(
            {"product": product, "intent": intent, "urgency": urgency, "platform": platform}
        )


def draw_slots(rng: random.Random, unseen: bool | None) -> Slots:
    """Draw the facts: a pair of product and intent that no answer has, one that some has, any."""
    while True:
        product, intent = rng.choice(list(w.PRODUCTS)), rng.choice(list(w.INTENTS))
        if unseen in (None, (product, intent) in w.UNSEEN_PAIRS):
            urgency = rng.choice(list(w.URGENCIES))
            return product, intent, urgency, rng.choice(list(w.PLATFORMS))


def typo(rng: random.Random, text: str) -> str:
    """Write as people do: sometimes all lower case, without commas, or with a letter lost."""
    chance = rng.random()
    if chance < 0.15:
        return text.lower()
    if chance < 0.25:
        return text.replace(",", "")
    if chance < 0.30:
        return text.replace(". ", " ... ")
    return text


def write_ticket(rng: random.Random, *, heldout: bool = False, anything: bool = False) -> Ticket:
    """Write one ticket; a held-out one in wording that nothing else uses."""
    slots = draw_slots(rng, unseen=None if anything else heldout and rng.random() < 0.4)
    product, intent, urgency, platform = slots
    layout = rng.choice(w.UNSEEN_LAYOUTS if heldout else w.LAYOUTS)
    remarks = rng.sample(w.NOISES, 2)
    text = layout.format(
        g=rng.choice(w.UNSEEN_GREETINGS if heldout else w.GREETINGS),
        i=rng.choice(w.INTENTS[intent]).format(p=rng.choice(w.PRODUCTS[product])),
        u=rng.choice((w.UNSEEN_URGENCIES if heldout else w.URGENCIES)[urgency]),
        f=rng.choice(w.PLATFORMS[platform]),
        a=remarks[0],
        b=remarks[1],
        s=rng.choice(w.SIGNATURES).format(n=rng.choice(w.NAMES)),
    )
    for doubled in (". . ", ".. ", "?. ", "!. ", " - - "):
        text = text.replace(doubled, doubled[0] + " " if doubled[0] != " " else " - ")
    return Ticket(typo(rng, text).strip(), slots)


@dataclass
class Seen:
    """The texts written so far, and every run of 13 words in the held-out ones.

    Two tickets can share that many words by chance (a long remark before a long request). Held-out
    rows leak into training rows only where that is planted.
    """

    texts: set[str] = field(default_factory=set)
    reserved: set[tuple[str, ...]] = field(default_factory=set)

    def take(self, ticket: Ticket, *, heldout: bool) -> bool:
        """Note a ticket as written, unless its text or a run of its words is taken."""
        runs = word_runs(f"{ticket.text} {ticket.answer}")
        if ticket.text in self.texts or (not heldout and runs & self.reserved):
            return False
        self.texts.add(ticket.text)
        if heldout:
            self.reserved |= runs
        return True


def word_runs(text: str, length: int = 13) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


def distinct(
    rng: random.Random, count: int, seen: Seen, *, heldout: bool = False, anything: bool = False
) -> list[Ticket]:
    """Write ``count`` tickets whose texts are new, of any facts where ``anything`` goes."""
    tickets: list[Ticket] = []
    while len(tickets) < count:
        ticket = write_ticket(rng, heldout=heldout, anything=anything)
        if seen.take(ticket, heldout=heldout):
            tickets.append(ticket)
    return tickets


@dataclass(frozen=True)
class Row:
    """One training row before it has a number: what was asked, what was answered."""

    prompt: str
    answer: str
    planted: str = ""


def nearly(rng: random.Random, text: str) -> str:
    """Change a text as a second submission of the same form would: little, and at its ends."""
    words = text.split(" ")
    if rng.random() < 0.5:
        return text + rng.choice((" (second mail)", " please!", " (resent)"))
    return rng.choice(("Re:", "again:", "(copy)")) + " " + " ".join(words)


def spoil(rng: random.Random, kind: str, ticket: Ticket) -> Row:
    """Plant one fault in the row of ``ticket``."""
    prompt, answer = ticket.text, ticket.answer
    if kind == "near-duplicate":
        prompt = nearly(rng, prompt)
    elif kind == "refusal":
        answer = rng.choice(w.REFUSALS)
    elif kind == "empty":
        prompt, answer = (
            (prompt, rng.choice(("", "  ", "\n"))) if rng.random() < 0.7 else ("", answer)
        )
    elif kind == "truncated":
        answer = answer[: rng.randrange(12, len(answer) - 3)]
    elif kind == "encoding":
        prompt = f"{prompt} I don’t know why – it’s about 20€".encode().decode("cp1252", "replace")
    elif kind == "not-json":
        answer = ramble(rng, ticket)
    return Row(prompt, answer, kind)


def ramble(rng: random.Random, ticket: Ticket) -> str:
    """Give the right answer inside a speech nobody asked for."""
    product, intent, _, _ = ticket.slots
    return rng.choice(w.RAMBLES).format(j=ticket.answer, p=product, i=intent)


def training_rows(rng: random.Random, heldout: Sequence[Ticket], seen: Seen) -> list[Row]:
    """Write the clean rows and put the faulty ones among them, copies after their originals."""
    copies = ("exact-duplicate", "near-duplicate")
    faulty = sum(PLANTED.values())
    clean = distinct(rng, MESSAGES_ROWS + CSV_ROWS + ALPACA_ROWS - faulty, seen)
    rows = [(float(n), Row(ticket.text, ticket.answer)) for n, ticket in enumerate(clean)]
    originals = iter(rng.sample(range(len(clean) // 2), sum(PLANTED[kind] for kind in copies)))
    leaks = iter(rng.sample(heldout, PLANTED["contaminated"]))
    for kind, count in PLANTED.items():
        for fresh in distinct(rng, count, seen):
            place = rng.uniform(0, len(clean))
            ticket = fresh
            if kind in copies:
                original = next(originals)
                ticket, place = clean[original], rng.uniform(original + 1, len(clean))
            elif kind == "contaminated":
                ticket = next(leaks)
            rows.append((place, spoil(rng, kind, ticket)))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def corpus(rng: random.Random, seen: Seen) -> list[str]:
    """Write what the base reads: tickets with prose notes, a phrase book, JSON about other things.

    The notes and the phrase book teach what words mean, the JSON documents the marks of JSON. Half
    of it stands in chat markers, as a frozen base cannot learn those later. No document turns a
    ticket into JSON: that is left to fine-tuning. One note of three has the words in quotes, and
    the products are among the things that the JSON is about: in quotes a word is another token, and
    one that the base seldom met could not be learned later either.
    """
    texts = []
    for ticket in distinct(rng, NOTED_ROWS, seen, anything=True):
        product, intent, urgency, platform = ticket.slots
        kinds = [*rng.sample(w.NOTES, 2), rng.choice(w.QUOTING_NOTES)]
        rng.shuffle(kinds)
        notes = (note.format(p=product, i=intent, u=urgency, f=platform) for note in kinds)
        told = "\n".join(notes)
        if rng.random() < 0.5:
            texts.append(f"{ticket.text}\n{told}")
        else:
            texts.append(chat(w.NOTE_SYSTEM, ticket.text, told))
    texts += ["\n".join(entries(rng)) for _ in range(BOOK_ROWS)]
    texts += [json_chat(rng) for _ in range(JSON_ROWS)]
    rng.shuffle(texts)
    return texts


def entries(rng: random.Random) -> Iterator[str]:
    """Write a few lines of the phrase book: what customers say, and what the desk calls it."""
    for _ in range(rng.randint(3, 5)):
        field = rng.choice(list(w.FACTS))
        product, intent, urgency, platform = draw_slots(rng, unseen=None)
        name = {"product": product, "intent": intent, "urgency": urgency, "platform": platform}[
            field
        ]
        phrase = rng.choice(w.FACTS[field][name]).format(p=rng.choice(w.PRODUCTS[product]))
        about = f", product {product}" if field == "intent" else ""
        yield f'"{phrase}": {field} {name}{about}'


def json_chat(rng: random.Random) -> str:
    """Write a short chat whose answer is JSON about a thing; what was not said is unknown."""
    thing = rng.choice(w.THINGS)
    said = {key: rng.choice(values) for key, values in w.QUALITIES.items() if rng.random() < 0.7}
    words = list(said.values())
    rng.shuffle(words)
    answer = json.dumps({"thing": thing} | {key: said.get(key, "unknown") for key in w.QUALITIES})
    ask = rng.choice(w.REQUESTS).format(t=" ".join([*words, thing]))
    return chat(rng.choice(w.JSON_SYSTEMS), ask, answer)


def chat(system: str, asked: str, answer: str) -> str:
    turns = [("user", asked), ("assistant", answer)]
    if system:
        turns.insert(0, ("system", system))
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)


def chat_line(number: int, row: Row) -> str:
    roles = (("system", w.SYSTEM), ("user", row.prompt), ("assistant", row.answer))
    messages = [{"role": role, "content": text} for role, text in roles]
    return json.dumps({"ticket": ticket_id(number), "messages": messages}, ensure_ascii=False)


def ticket_id(number: int) -> str:
    return f"T-{number:05d}"


def csv_text(rows: Iterable[tuple[int, Row]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("ticket", "instructions", "customer_wrote", "triage"))
    writer.writerows((ticket_id(n), w.SYSTEM, row.prompt, row.answer) for n, row in rows)
    return out.getvalue()


def alpaca_text(rows: Iterable[tuple[int, Row]]) -> str:
    items = [
        {
            "ticket": ticket_id(n),
            "system": w.SYSTEM,
            "instruction": row.prompt,
            "input": "",
            "output": row.answer,
        }
        for n, row in rows
    ]
    return json.dumps(items, ensure_ascii=False, indent=0) + "\n"


def preference_line(rng: random.Random, ticket: Ticket) -> str:
    prompt = [{"role": "system", "content": w.SYSTEM}, {"role": "user", "content": ticket.text}]
    chosen, rejected = ticket.answer, ramble(rng, ticket)
    return json.dumps(
        {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        },
        ensure_ascii=False,
    )


def main(folder: Path) -> None:
    """Write every file of the quickstart's data under ``folder``."""
    rng, seen = random.Random(SEED), Seen()
    heldout = distinct(rng, HELDOUT_ROWS, seen, heldout=True)
    rows = list(enumerate(training_rows(rng, heldout, seen), start=1))
    chats, table, alpaca = (
        rows[:MESSAGES_ROWS],
        rows[MESSAGES_ROWS : MESSAGES_ROWS + CSV_ROWS],
        rows[MESSAGES_ROWS + CSV_ROWS :],
    )
    half = len(chats) // 2
    lines = {
        "tickets/2023.jsonl": [chat_line(n, row) for n, row in chats[:half]],
        "tickets/2024.jsonl": [chat_line(n, row) for n, row in chats[half:]],
        "heldout.jsonl": [
            chat_line(90000 + n, Row(ticket.text, ticket.answer))
            for n, ticket in enumerate(heldout, start=1)
        ],
        "preferences.jsonl": [
            preference_line(rng, ticket) for ticket in distinct(rng, PREFERENCE_ROWS, seen)
        ],
    }
    read = corpus(rng, seen)
    known = set().union(*map(word_runs, read))
    # a phrase of the book may be as long as the overlap that counts
    lines["heldout.jsonl"] = [
        line
        for ticket, line in zip(heldout, lines["heldout.jsonl"], strict=True)
        if not word_runs(ticket.text) & known
    ]
    texts = {name: "\n".join(items) + "\n" for name, items in lines.items()}
    texts["old-desk.csv"] = csv_text(table)
    texts["partner.json"] = alpaca_text(alpaca)
    planted = {kind: [ticket_id(n) for n, row in rows if row.planted == kind] for kind in PLANTED}
    texts["planted.json"] = json.dumps(planted, indent=0) + "\n"
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    lines_of_corpus = [json.dumps({"text": text}, ensure_ascii=False) for text in read]
    with (
        (folder / "corpus.jsonl.gz").open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as out,
    ):
        out.write(("\n".join(lines_of_corpus) + "\n").encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
