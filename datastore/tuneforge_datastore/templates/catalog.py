"""The shipped templates and what each needs of a tokenizer."""

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Shipped:
    """A template of ours.

    ``control`` are the tokens that must be single special tokens of the tokenizer. ``terminator``
    ends an assistant turn; empty: the tokenizer's end-of-sequence token does.
    """

    name: str
    control: tuple[str, ...] = ()
    terminator: str = ""

    def source(self) -> str:
        """Read the Jinja text, without the BOS token that some tokenizers want before it."""
        resource = files("tuneforge_datastore.templates") / "shipped" / f"{self.name}.jinja"
        return resource.read_text(encoding="utf-8")


_IM = ("<|im_start|>", "<|im_end|>")

SHIPPED: dict[str, Shipped] = {
    shipped.name: shipped
    for shipped in (
        Shipped("chatml", _IM, "<|im_end|>"),
        Shipped("qwen", _IM, "<|im_end|>"),
        Shipped("llama3", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"),
        Shipped("gemma", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
        Shipped("phi3", ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|end|>"),
        # These write their markers as ordinary text.
        Shipped("alpaca"),
        Shipped("llama2"),
        Shipped("mistral"),
        Shipped("zephyr"),
        Shipped("vicuna"),
        Shipped("plain"),
    )
}
