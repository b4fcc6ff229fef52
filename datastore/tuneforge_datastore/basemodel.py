"""What a curation knows of the base model: its tokenizer, and somebody who asks it for losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tuneforge_specs.errors import UsageError
from tuneforge_specs.filters import Scored

from tuneforge_datastore.render.vocabulary import Vocabulary

_TOGETHER = 1024


class Loss(NamedTuple):
    """Mean losses of a text's tokens in nats, after its context and without it.

    Both are of the same ``tokens`` tokens; none has a loss where there are none to predict.
    """

    conditioned: float | None
    alone: float | None
    tokens: int


class Asked(NamedTuple):
    """A text, and what stands before it."""

    context: str
    text: str


# Takes what is asked, the filter that asks, and its key path for messages.
Scorer = Callable[[Sequence[Asked], Scored, str], list[Loss]]


@dataclass(frozen=True)
class BaseModel:
    """The base: its folder, what tells its losses from another model's, and who computes them."""

    folder: Path
    identity: str
    score: Scorer

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its tokenizer."""
        return Vocabulary(self.folder)

    def count_tokens(self, texts: Any) -> pa.Array:
        """Count each text's tokens, those that a template adds aside; null counts as empty."""
        plain = [text or "" for text in texts.to_pylist()]
        counts: list[int] = []
        for begin in range(0, len(plain), _TOGETHER):
            found = self.vocabulary.encode(plain[begin : begin + _TOGETHER])
            counts += [len(one.ids) for one in found]
        return pa.array(counts, pa.int64())


def required(base: "BaseModel | None", place: str) -> BaseModel:
    """Give the base; raise UsageError where the curation was started without one."""
    if base is None:
        raise UsageError(f"{place} needs the base model", "curate by tuneforge build")
    return base
