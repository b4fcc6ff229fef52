"""Special tokens of a GGUF file: where generation starts and stops, and the chat template."""

from dataclasses import dataclass

from tuneforge_specs.errors import UsageError

from tuneforge.export.model_folder import ModelFolder

# Token texts that llama.cpp takes for an end of turn even where no key says so.
KNOWN_END_TEXTS = frozenset(
    {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
        "<EOT>", "_<EOT>", "<|eom_id|>",
    }
)  # fmt: skip


@dataclass(frozen=True)
class SpecialTokens:
    """Ids, None where there is none; ``eot`` where the turn ends otherwise than on ``eos``."""

    bos: int | None
    eos: int
    eot: int | None
    unknown: int | None
    padding: int | None
    add_bos: bool
    chat_template: str

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids at which a runtime stops by metadata alone."""
        return (self.eos,) if self.eot is None else (self.eos, self.eot)


def strips_after(folder: ModelFolder) -> tuple[str, ...]:
    """Return the special tokens after which the tokenizer drops whitespace."""
    added = folder.tokenizer.get("added_tokens", [])
    return tuple(token["content"] for token in added if token.get("rstrip"))


def general_name(architecture: str, folder: ModelFolder, name: str) -> str:
    """Return the name to write: llama.cpp drops that whitespace only where the name says Phi-3."""
    if architecture == "phi3" and strips_after(folder) and "phi-3" not in name.lower():
        return f"{name} (phi-3)"
    return name


def special_tokens(folder: ModelFolder, terminators: tuple[int, ...] = ()) -> SpecialTokens:
    """Return the special tokens of a model; ``terminators`` are those it was trained to emit.

    The first trained terminator becomes `eos` when the tokenizer's own eos is not one of them, so
    that a runtime which knows only `eos` stops where the model does.
    """
    declared = folder.special("eos_token")
    stops = terminators or folder.terminators
    if not stops:
        raise UsageError(
            f"{folder.path} names no end-of-sequence token, so nothing would stop generation",
            "set eos_token in tokenizer_config.json or eos_token_id in generation_config.json",
        )
    eos = declared if declared is not None and (declared in stops or not terminators) else stops[0]
    eot = next((stop for stop in stops if stop != eos), None)
    bos = folder.special("bos_token")
    return SpecialTokens(
        bos=bos,
        eos=eos,
        eot=eot,
        unknown=folder.special("unk_token"),
        padding=folder.special("pad_token"),
        add_bos=bos is not None and adds_bos(folder, bos),
        chat_template=folder.chat_template,
    )


def adds_bos(folder: ModelFolder, bos: int) -> bool:
    """Return whether the tokenizer puts ``bos`` before plain text.

    `add_bos_token` in tokenizer_config.json rebuilds the post-processor in transformers, so it
    wins over the post-processor in tokenizer.json.
    """
    explicit = folder.tokenizer_config.get("add_bos_token")
    if isinstance(explicit, bool):
        return explicit
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
    ids = tokenizer.encode("a", add_special_tokens=True).ids
    return bool(ids) and ids[0] == bos
