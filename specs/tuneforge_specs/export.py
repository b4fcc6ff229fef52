"""What leaves the build."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tuneforge_specs.model import Many, Model, Name

GgufType = Literal[
    "f32", "f16", "bf16", "q8_0", "q5_0", "q4_0",
    "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q3_k_m",
]  # fmt: skip
OllamaParameter = Literal[
    "temperature", "top_k", "top_p", "min_p", "num_ctx", "num_predict", "repeat_penalty", "seed"
]

WHOLE_NUMBERS = frozenset({"top_k", "num_ctx", "num_predict", "seed"})


class ExportBase(Model):
    """What every export declares."""

    model: Name = Field(description="A merge, or a train step whose weights are full.")
    after: Literal["auto"] | Many[Name] = Field(
        "auto", description="Evaluations whose gates must pass first; auto: all of this model."
    )


class SafetensorsExport(ExportBase):
    """A Hugging Face model folder."""

    format: Literal["safetensors"]


class GgufExport(ExportBase):
    """One GGUF file for each of ``types``."""

    format: Literal["gguf"]
    types: Annotated[Many[GgufType], Field(min_length=1)] = Field(
        ("q8_0",), description="Number formats; one file each. K-quants need tuneforge[llamacpp]."
    )


class BitsAndBytesExport(ExportBase):
    """A Hugging Face model folder whose linear layers are quantised with bitsandbytes."""

    format: Literal["bitsandbytes"]
    quantize: Literal["int8", "nf4"] = Field("nf4", description="8-bit integers or 4-bit NF4.")


class AdapterExport(ExportBase):
    """A PEFT adapter folder with the commands that serve it beside its base."""

    model: Name = Field(description="A train step with an adapter.")
    format: Literal["adapter"]
    beside: Many[Name] = Field(
        (), description="More adapters of the same base to serve with it, each in its own folder."
    )
    gguf: bool = Field(False, description="Write the adapter as GGUF for llama.cpp, too.")


class OllamaExport(ExportBase):
    """A GGUF file with the Modelfile that Ollama creates a model from."""

    format: Literal["ollama"]
    type: GgufType = Field("q8_0", description="Number format of the GGUF file.")
    system: str = Field("", description="System text of the model; empty: the template's own.")
    parameters: dict[OllamaParameter, float] = Field(
        default_factory=dict,
        description="Sampling parameters; others come from the model's generation config.",
    )

    @field_validator("parameters")
    @classmethod
    def _whole(cls, value: dict[OllamaParameter, float]) -> dict[OllamaParameter, float]:
        broken = [name for name in value if name in WHOLE_NUMBERS and value[name] % 1]
        if broken:
            raise ValueError(f"parameters.{broken[0]} must be a whole number")
        return value


Export = Annotated[
    SafetensorsExport | GgufExport | BitsAndBytesExport | AdapterExport | OllamaExport,
    Field(discriminator="format"),
]
