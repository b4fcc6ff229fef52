"""The tokenizer of a merged model, and where the rows of its tokens come from."""

from pydantic import Field

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
    pad_to_multiple: Positive = Field(1, description="Rows are padded to a multiple of this.")
    tokens: dict[str, TokenSource] = Field(
        default_factory=dict, description="Where single tokens take their rows from."
    )
