"""OpenAssistant trees: each path to a leaf is a conversation, or ranked replies make pairs.

A row is a whole tree (``prompt`` with nested ``replies``), or one message with its ``parent_id``;
messages of a tree follow one another in the file and are gathered before they are read.
"""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

from tuneforge_datastore.ingest.formats import Format, Values
from tuneforge_datastore.ingest.formats.preference import pair
from tuneforge_datastore.ingest.rows import Broken, Row, RowError, Unusable, as_text
from tuneforge_datastore.ingest.turns import turn
from tuneforge_datastore.records import Message, Record

_FLAT = frozenset({"message_id", "parent_id", "text", "role"})
# Beyond any conversation: a tree is walked by recursion, and held in memory while it is gathered.
_DEEPEST = 400
_LARGEST = 20_000


def is_tree(columns: frozenset[str], rows: Sequence[Values]) -> str:
    """Say why rows are OpenAssistant's, or give an empty string."""
    if columns >= _FLAT:
        return "messages with message_id, parent_id, role, text"
    if "prompt" in columns and all(
        isinstance(row.get("prompt"), dict) and "replies" in row["prompt"] for row in rows
    ):
        return "trees of replies in column prompt"
    return ""


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    why = is_tree(columns, rows)
    return f'{why}; format = "oasst-pairs" makes pairs of ranked replies' if why else ""


def gather(rows: Iterator[Row | Broken]) -> Iterator[Row | Broken]:
    """Put the messages of one tree together; whole trees and broken rows pass as they are."""
    held: list[Values] = []
    line, tree = 0, ""
    for row in rows:
        if isinstance(row, Broken) or not row.values.keys() >= _FLAT:
            yield row
            continue
        root = as_text(row.values.get("message_tree_id"))
        begins = root != tree if root else not row.values["parent_id"]
        if held and (begins or len(held) >= _LARGEST):
            yield Row(line, {"prompt": held})
            held = []
        if not held:
            line, tree = row.line, root
        held.append(row.values)
    if held:
        yield Row(line, {"prompt": held})


def _root(row: Values) -> dict[str, Any]:
    """Give a row's tree as nested replies."""
    found = row.get("prompt")
    if isinstance(found, dict):
        return found
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and one.keys() >= _FLAT for one in found
    ):
        raise RowError("no tree: neither a prompt with replies nor messages with parent_id")
    nodes = {as_text(one["message_id"]): {**one, "replies": []} for one in found}
    roots = []
    for node in nodes.values():
        parent = as_text(node["parent_id"])
        if not parent:
            roots.append(node)
        elif parent in nodes:
            nodes[parent]["replies"].append(node)
        else:
            raise RowError(f"the parent {parent} of {node['message_id']} is not beside it")
    if len(roots) != 1:
        raise RowError(f"a tree has one root, this has {len(roots)}")
    return roots[0]


def _walk(
    node: dict[str, Any], before: list[Message]
) -> Iterator[tuple[list[Message], list[dict[str, Any]]]]:
    """Give each message's path from the root, and the replies to it."""
    if len(before) > _DEEPEST:
        raise RowError(f"a tree deeper than {_DEEPEST} messages")
    path = [*before, turn({"role": node.get("role"), "content": node.get("text")}, "prompt")]
    given = node.get("replies") or []
    if not isinstance(given, list) or not all(isinstance(reply, dict) for reply in given):
        raise RowError("replies must be a list of messages")
    replies = [reply for reply in given if not reply.get("deleted")]
    yield path, replies
    for reply in replies:
        yield from _walk(reply, path)


def _conversations(row: Values) -> list[Record]:
    root = _root(row)
    meta = _meta(row, root)
    made: dict[tuple[Message, ...], None] = {}
    for path, replies in _walk(root, []):
        # A path that ends with the user's turn is answered nowhere: it ends at the answer before.
        last = len(path) if path[-1].role == "assistant" else len(path) - 1
        if not replies and last:
            made[tuple(path[:last])] = None
    if not made:
        raise Unusable("a tree without an answer")
    return [Record("instruction", list(path), meta=meta) for path in made]


def _pairs(row: Values) -> list[Record]:
    root = _root(row)
    made = []
    for path, replies in _walk(root, []):
        ranked = [
            reply
            for reply in replies
            if isinstance(reply.get("rank"), int | float) and not isnan(reply["rank"])
        ]
        ranked.sort(key=lambda reply: float(reply["rank"]))
        if len(ranked) > 1 and ranked[0]["rank"] < ranked[-1]["rank"]:
            best, worst = (
                [turn({"role": reply.get("role"), "content": reply.get("text")}, "prompt")]
                for reply in (ranked[0], ranked[-1])
            )
            if best[0].role == "assistant":
                record = pair(path, best, worst)
                record.meta = _meta(row, root)
                made.append(record)
    if not made:
        raise Unusable("a tree without ranked answers")
    return made


def _meta(row: Values, root: dict[str, Any]) -> dict[str, Any]:
    tree = row.get("message_tree_id") or root.get("message_tree_id") or root.get("message_id")
    return {
        name: value
        for name, value in (("message_tree_id", tree), ("lang", root.get("lang")))
        if value
    }


OASST = Format("oasst", _fits, _conversations, gather)
# Which of the two a tree is meant for, nobody can tell from it; conversations are the usual use.
OASST_PAIRS = Format("oasst-pairs", lambda _columns, _rows: "", _pairs, gather)
