"""What leaves the build."""

from typing import Annotated, Literal

from pydantic import Field

from tuneforge_specs.model import Many, Model, Name

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q5_0", "q4_0"]


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
        ("q8_0",), description="Number formats; one file each."
    )


Export = Annotated[SafetensorsExport | GgufExport, Field(discriminator="format")]
