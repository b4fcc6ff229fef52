"""K-quants, made by llama.cpp's own `llama_model_quantize` (needs `tuneforge[llamacpp]`)."""

import importlib.util
from pathlib import Path
from typing import Final

from tuneforge_specs.errors import EnvironmentMissing

# llama.cpp's `llama_ftype` numbers.
K_QUANTS: Final = {
    "q3_k_m": 12,
    "q4_k_s": 14,
    "q4_k_m": 15,
    "q5_k_s": 16,
    "q5_k_m": 17,
    "q6_k": 18,
}
INSTALL: Final = "pip install 'tuneforge[llamacpp]' (it compiles llama.cpp)"


def check_available(types: tuple[str, ...]) -> None:
    """Raise EnvironmentMissing where K-quants are wanted and llama-cpp-python is not there."""
    wanted = [name for name in types if name in K_QUANTS]
    if wanted and importlib.util.find_spec("llama_cpp") is None:
        raise EnvironmentMissing(
            f"{', '.join(wanted)} needs llama.cpp, and llama-cpp-python is not installed",
            f'{INSTALL}, or use types = ["q8_0"], ["q5_0"] or ["q4_0"]',
        )


def quantize_file(source: Path, target: Path, kind: str, threads: int = 0) -> None:
    """Quantise a float GGUF file; ``threads`` 0 takes all cores and changes no byte."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = K_QUANTS[kind]
    params.nthread = threads
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), params)
    if code or not target.is_file():
        raise EnvironmentMissing(
            f"llama.cpp could not quantise {source.name} to {kind} (code {code})",
            "see its messages above; use q8_0 if this architecture is too new for it",
        )
