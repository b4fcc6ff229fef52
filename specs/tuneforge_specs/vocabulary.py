"""The tokenizer of a merged model, and where the rows of its tokens come from."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tuneforge_specs.model import Model, Positive


class TokenSource(Model):
    """The model whose row a token gets."""

    source: str = Field(min_length=1, description="An input's label, or `base`.")
    token: str = Field("", description="Another token of it; left out: the same.")
    force: bool = Field(
        False, description="Also for models that have a row of their own for this token."
    )


class MergeTokenizer(Model):
    """The tokenizer of a merge whose inputs have different vocabularies."""

    source: str = Field(
        "union", min_length=1, description="`union`, `base`, or the label of an input."
    )
    plain: Literal["refuse", "leave", "add"] = Field(
        "refuse",
        description="For `union`, plain tokens that the base lacks: refuse the merge, leave them "
        "out, or add them, which changes how old texts are cut.",
    )
    pad_to_multiple: Positive = Field(1, description="Rows are padded to a multiple of this.")
    tokens: dict[str, TokenSource] = Field(
        default_factory=dict, description="Where single tokens take their rows from."
    )

    @model_validator(mode="after")
    def _plain_of_a_union(self) -> Self:
        if "plain" in self.model_fields_set and self.source != "union":
            raise ValueError(f"plain: the tokens are those of {self.source}; remove it")
        return self
