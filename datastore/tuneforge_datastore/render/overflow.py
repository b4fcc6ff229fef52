"""Records longer than ``max_tokens``: where ids are cut, which turns go, where a record parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Turn = Mapping[str, Any]
Turns = Sequence[Turn]


def cut_left(ids: list[int], limit: int, bos: int | None) -> list[int]:
    """Give the places of the ids that stay if the left is cut: the last ones, BOS before them."""
    if len(ids) <= limit:
        return list(range(len(ids)))
    begins = [0] if ids and ids[0] == bos else []
    return [*begins, *range(len(ids) - limit + len(begins), len(ids))]


def exchanges(messages: Turns) -> tuple[list[Turn], list[list[Turn]]]:
    """Divide a conversation: what comes before the first question, and each with its answers.

    The turns from one question to the next stay together, tool calls and results among them.
    """
    head: list[Turn] = []
    found: list[list[Turn]] = []
    for turn in messages:
        if turn["role"] == "user" and not (found and found[-1][-1]["role"] == "user"):
            found.append([turn])
        elif found:
            found[-1].append(turn)
        else:
            head.append(turn)
    return head, found


def without_middle(messages: Turns) -> Iterator[tuple[list[Turn], int]]:
    """Give ever shorter forms of a conversation, and how many turns each leaves out.

    The system turn, the first exchange and the last stay; the earliest of the others goes first.
    """
    head, found = exchanges(messages)
    if len(found) < 3:
        return
    first, *middle, last = found
    for count in range(1, len(middle) + 1):
        kept = [turn for exchange in (first, *middle[count:], last) for turn in exchange]
        yield [*head, *kept], sum(map(len, middle[:count]))


def parts(messages: Turns, fits: Callable[[list[Turn]], bool]) -> Iterator[list[Turn]]:
    """Divide a conversation into runs of whole exchanges, each as long as ``fits`` allows.

    What comes before the first question, the system turn, begins every part. An exchange that does
    not fit even alone is a part of its own.
    """
    head, found = exchanges(messages)
    run: list[list[Turn]] = []
    for exchange in found:
        longer = [turn for one in (*run, exchange) for turn in one]
        if run and not fits([*head, *longer]):
            yield [*head, *(turn for one in run for turn in one)]
            run = []
        run.append(exchange)
    if run:
        yield [*head, *(turn for one in run for turn in one)]


def pieces(count: int, limit: int, begins: int) -> Iterator[range]:
    """Divide the ids of a text behind its first ``begins``, so that each piece fits with those."""
    room = limit - begins
    for start in range(begins, count, max(1, room)):
        yield range(start, min(start + room, count))
