"""Where raw data comes from, and how its rows are read."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from tuneforge_specs.model import Count, Many, Model

Format = Literal[
    "auto",
    "alpaca",
    "sharegpt",
    "messages",
    "completion",
    "preference",
    "openai-preference",
    "unpaired",
    "text",
    "hh",
    "chatml",
    "dolly",
    "oasst",
    "oasst-pairs",
    "ratings",
]


class Columns(Model):
    """Map the roles of a record to the columns of the data; an empty name means no such column."""

    id: str = Field("", description="Column of the record's own id.")
    system: str = Field("", description="Column of the system turn.")
    prompt: str = Field("", description="Column of the prompt.")
    completion: str = Field("", description="Column of the answer.")
    chosen: str = Field("", description="Column of the preferred answer.")
    rejected: str = Field("", description="Column of the other answer.")
    label: str = Field("", description="Column that says whether the answer is good.")
    text: str = Field("", description="Column of plain text.")
    messages: str = Field("", description="Column of the list of turns.")
    tools: str = Field("", description="Column of the tool definitions.")


class SourceBase(Model):
    """What every kind of source declares."""

    format: Format = Field("auto", description="How rows are read; `columns` overrides it.")
    columns: Columns = Field(Columns(), description="Custom column names.")
    pairs: Literal["paired", "unpaired"] = Field(
        "paired",
        description="What a preference pair becomes: itself, or two answers judged good and bad, "
        "as KTO trains on.",
    )
    license: str = Field("unknown", description="Licence of the data, carried into the card.")
    on_error: Literal["error", "skip"] = Field(
        "error", description="What a row that cannot be read does: end the build, or be counted."
    )
    limit: Count = Field(0, description="Read at most this many rows; 0 reads all.")


class PathSource(SourceBase):
    """Files: a path, glob or folder, several of them, or ``-`` for standard input."""

    path: Annotated[str, Field(min_length=1)] | Many[str] = Field(
        description="A file, glob or folder, a list of them, or `-` for standard input."
    )


class HfSource(SourceBase):
    """A Hugging Face dataset, from the hub or saved to disk."""

    hf: str = Field(min_length=1, description="Hub id, or folder of a dataset saved to disk.")
    subset: str = Field("", description="Configuration of the dataset; empty: its default.")
    split: str = Field("train", description="Split of the dataset that is read.")
    revision: str = Field("main", description="Branch, tag or commit.")


class SqlSource(SourceBase):
    """A DuckDB query over files; each result row is one raw row."""

    sql: str = Field(min_length=1, description="The query.")


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "model_fields_set", ())
    return next((kind for kind in ("hf", "sql") if kind in keys), "path")


Source = Annotated[
    Annotated[PathSource, Tag("path")]
    | Annotated[HfSource, Tag("hf")]
    | Annotated[SqlSource, Tag("sql")],
    Discriminator(_kind),
]
