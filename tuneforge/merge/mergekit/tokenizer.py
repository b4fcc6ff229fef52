"""mergekit's `tokenizer_source` and `tokenizer` as our `tokenizer`."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tuneforge_specs.errors import UsageError

from tuneforge.merge.mergekit.models import Reference, reference

Table = dict[str, Any]
_UNION: Table = {"source": "union", "plain": "add"}  # what mergekit makes of it


def tokenizer(config: Mapping[str, Any], base: Reference) -> Table:
    """Return our key; empty where the configuration says nothing."""
    source, table = config.get("tokenizer_source"), config.get("tokenizer")
    if source is not None and table is not None:
        raise UsageError("tokenizer: cannot stand beside tokenizer_source", "keep one of them")
    if source is not None:
        name = _source(source, base, "tokenizer_source")
        return {"tokenizer": _UNION if name == "union" else name}
    if table is None:
        return {}
    if not isinstance(table, dict) or set(table) - {"source", "tokens", "pad_to_multiple_of"}:
        raise UsageError(
            "tokenizer: not a table of known keys", "write source, tokens, pad_to_multiple_of"
        )
    found: Table = {"source": _source(table.get("source", "union"), base, "tokenizer.source")}
    if found["source"] == "union":
        found = dict(_UNION)
    if table.get("pad_to_multiple_of"):
        found["pad_to_multiple"] = table["pad_to_multiple_of"]
    tokens = {
        str(token): entry
        for token, value in (table.get("tokens") or {}).items()
        if (entry := _token(value, base, f"tokenizer.tokens.{token}"))
    }
    return {"tokenizer": found | ({"tokens": tokens} if tokens else {})}


def _source(value: Any, base: Reference, where: str) -> str:
    if value in ("union", "base"):
        return str(value)
    return _label(value, base, where)


def _label(value: Any, base: Reference, where: str) -> str:
    """Return what our plans call a model: `base`, or the name of its folder."""
    named = reference(value, where)
    return "base" if named == base else PurePath(named.model).name


def _token(value: Any, base: Reference, where: str) -> Table:
    """Return the origin of one token's row; empty where the ordinary rule is asked for."""
    if not isinstance(value, dict) or set(value) - {"source", "force"}:
        raise UsageError(f"{where}: not a table of source and force", "write source: MODEL")
    source = value.get("source")
    if source is None:
        return {}
    found: Table = {}
    if isinstance(source, dict) and "kind" in source:
        if source["kind"] != "model_token" or source.get("token") is None:
            raise UsageError(
                f"{where}.source: rows of zeros or by token id are not supported",
                "name a model and a token of it",
            )
        found["token"] = str(source["token"])
        source = source.get("model")
    found["source"] = _label(source, base, where)
    return found | ({"force": True} if value.get("force") else {})
