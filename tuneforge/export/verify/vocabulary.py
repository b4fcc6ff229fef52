"""The tokenizer inside a GGUF file, read back and compared with the source's."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuneforge.export.gguf.special import KNOWN_END_TEXTS, adds_bos, strips_after
from tuneforge.export.gguf.vocabulary import CONTROL, UNUSED
from tuneforge.export.model_folder import ModelFolder
from tuneforge.export.verify.gguf_file import READER
from tuneforge.export.verify.probes import decomposed
from tuneforge.export.verify.replay import Replay
from tuneforge.export.verify.report import Report

REPLAY = "llama.cpp's tokenizer, replayed"
Metadata = dict[str, Any]


def check_vocabulary(
    file: str, metadata: Metadata, folder: ModelFolder, terminators: Sequence[int], report: Report
) -> None:
    """Check tokens, merges, special tokens, the end of a turn and the template."""
    report.add("tokens", file, READER, *_tokens(metadata, folder))
    if metadata["tokenizer.ggml.model"] == "gpt2":
        merges = [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in folder.tokenizer["model"]["merges"]
        ]
        same = metadata["tokenizer.ggml.merges"] == merges
        report.add("merges", file, READER, same, f"{len(merges)} merges")
    report.add("end of turn", file, READER, *_ends(metadata, terminators))
    report.add("start", file, READER, *_start(metadata, folder))
    template = metadata.get("tokenizer.chat_template", "")
    same = template == folder.chat_template
    detail = f"{len(template)} characters" if same else "the file's template is another text"
    report.add("chat template", file, READER, same, detail)


def check_ids(
    file: str, metadata: Metadata, texts: Mapping[str, list[int]], report: Report
) -> None:
    """Check that llama.cpp's tokenizer, given this file, cuts every text as the source does."""
    replay = Replay(metadata)
    different = [text for text, ids in texts.items() if replay.encode(text) != ids]
    report.add("token ids", file, REPLAY, not different, describe(different, len(texts)))


def describe(different: Sequence[str], total: int) -> str:
    """Say how many texts differ, and show the first."""
    if not different:
        return f"{total} texts"
    return f"{len(different)} of {total} texts differ, the first {different[0]!r}"


def excused(texts: Sequence[str], folder: ModelFolder, architecture: str) -> dict[str, str]:
    """Return the texts that llama.cpp is known to cut otherwise, each with the reason."""
    normalizer = folder.tokenizer.get("normalizer") or {}
    if normalizer.get("type") == "NFC":
        return {text: "not in NFC" for text in texts if decomposed(text)}
    pre = folder.tokenizer.get("pre_tokenizer") or {}
    if pre.get("type") == "Metaspace" and pre.get("prepend_scheme") == "first":
        special = [token["content"] for token in folder.tokenizer.get("added_tokens", [])]
        return {
            text: "a space is put after special tokens"
            for text in texts
            if any(token in text for token in special)
        }
    strips = strips_after(folder)
    if strips and architecture != "phi3":
        return {
            text: "whitespace after special tokens is kept"
            for text in texts
            if any(token in text for token in strips)
        }
    return {}


def _tokens(metadata: Metadata, folder: ModelFolder) -> tuple[bool, str]:
    tokens = metadata["tokenizer.ggml.tokens"]
    types = metadata["tokenizer.ggml.token_type"]
    wrong = [token for token, index in folder.token_ids.items() if tokens[index] != token]
    special = {t["id"] for t in folder.tokenizer.get("added_tokens", []) if t.get("special")}
    known = set(folder.token_ids.values())
    for index, kind in enumerate(types):
        if (index in known) == (kind == UNUSED):
            wrong.append(tokens[index])
        # The unknown token has a type of its own; every other special token is control.
        if index in special and kind not in (CONTROL, 2):
            wrong.append(tokens[index])
    if wrong:
        return False, f"{len(wrong)} tokens differ, the first {wrong[0]!r}"
    return True, f"{len(known)} tokens"


def _ends(metadata: Metadata, terminators: Sequence[int]) -> tuple[bool, str]:
    tokens = metadata["tokenizer.ggml.tokens"]
    declared = (metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    ends = {int(index) for index in declared if index is not None}
    # Some runtimes know eos alone, whatever llama.cpp stops at by its text.
    eos = metadata.get("tokenizer.ggml.eos_token_id")
    if eos not in terminators:
        return False, f"eos is {eos}, which the model was not trained to end on"
    missed = [
        index for index in terminators if index not in ends and tokens[index] not in KNOWN_END_TEXTS
    ]
    if missed or not ends:
        named = ", ".join(repr(tokens[index]) for index in missed) or "any token"
        return False, f"a runtime would not stop at {named}"
    return True, ", ".join(repr(tokens[index]) for index in sorted(ends))


def _start(metadata: Metadata, folder: ModelFolder) -> tuple[bool, str]:
    bos = folder.special("bos_token")
    wanted = bos is not None and adds_bos(folder, bos)
    found = bool(metadata.get("tokenizer.ggml.add_bos_token", False))
    same = metadata.get("tokenizer.ggml.bos_token_id") == bos and found == wanted
    return same, f"bos {bos}, {'added' if wanted else 'not added'} before text"
