"""A model's config.json with the questions that GGUF metadata asks of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import UsageError

# transformers 5 writes `rope_parameters`; earlier versions `rope_theta` beside `rope_scaling`.
NO_SCALING = ("default", "none", "")


@dataclass(frozen=True)
class Config:
    """Typed access to a config; what is missing without a default is refused by its key."""

    values: Mapping[str, Any]

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer of the config."""
        return int(self._value(key, default))

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number of the config."""
        return float(self._value(key, default))

    def _value(self, key: str, default: float | None) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None or isinstance(value, (str, list, dict)):
            raise UsageError(
                f"config.json has no usable {key!r} (found {value!r})", "fix config.json"
            )
        return value

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.integer("num_attention_heads")

    @property
    def kv_heads(self) -> int:
        """Key and value heads; as many as query heads where the config says nothing."""
        return self.integer("num_key_value_heads", self.heads)

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.integer("head_dim", self.integer("hidden_size") // self.heads)

    @property
    def tied(self) -> bool:
        """Whether the output projection is the embedding."""
        return bool(self.values.get("tie_word_embeddings", False))

    @property
    def rope(self) -> dict[str, Any]:
        """Rotary parameters of the full-attention layers, in transformers 5's keys."""
        nested = self.values.get("rope_parameters") or {}
        rope = dict(nested.get("full_attention", nested))
        if not rope:
            rope = dict(self.values.get("rope_scaling") or {})
        if "rope_type" not in rope:
            rope["rope_type"] = rope.pop("type", "default")
        rope.setdefault("rope_theta", self.values.get("rope_theta") or 10000.0)
        for key in ("original_max_position_embeddings", "partial_rotary_factor"):
            if key not in rope and self.values.get(key) is not None:
                rope[key] = self.values[key]
        return rope

    @property
    def rope_type(self) -> str:
        """The rotary scaling's name, `default` for none."""
        name = str(self.rope["rope_type"] or "default").lower()
        return "default" if name in NO_SCALING else name
