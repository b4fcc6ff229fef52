"""The types of a GGUF file, and which tensor gets which."""

from dataclasses import dataclass

BLOCK = 32  # elements per block of Q4_0, Q5_0 and Q8_0


@dataclass(frozen=True)
class FileType:
    """One kind of GGUF file.

    ``tensor`` is the type of matrices, ``output`` that of the output projection and of the
    embedding, which small blocks hurt most (llama.cpp keeps them finer, too). ``number`` is
    llama.cpp's `general.file_type`.
    """

    name: str
    number: int
    tensor: str
    output: str


FILE_TYPES = {
    kind.name: kind
    for kind in (
        FileType("f32", 0, "F32", "F32"),
        FileType("f16", 1, "F16", "F16"),
        FileType("bf16", 32, "BF16", "BF16"),
        FileType("q8_0", 7, "Q8_0", "Q8_0"),
        FileType("q5_0", 8, "Q5_0", "Q8_0"),
        FileType("q4_0", 2, "Q4_0", "Q8_0"),
    )
}


def tensor_type(kind: FileType, name: str, shape: tuple[int, ...]) -> str:
    """Return a GGUF tensor's type: vectors stay F32, odd widths fall back to F16."""
    if len(shape) < 2:
        return "F32"
    chosen = kind.output if name in ("output.weight", "token_embd.weight") else kind.tensor
    if chosen.startswith("Q") and shape[-1] % BLOCK:
        return "F16"
    return chosen


def byte_size(tensor: str, shape: tuple[int, ...]) -> int:
    """Return how many bytes a tensor of this type and shape takes."""
    elements = 1
    for size in shape:
        elements *= size
    per_block = {"F32": 128, "F16": 64, "BF16": 64, "Q8_0": 34, "Q5_0": 22, "Q4_0": 18}[tensor]
    return elements * per_block // BLOCK
