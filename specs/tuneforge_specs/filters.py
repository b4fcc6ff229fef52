"""The quality filters a dataset may apply, in order; each names why a record is dropped."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tuneforge_specs.model import Count, Fraction, Many, Model, Positive

Part = Literal["prompt", "completion", "whole"]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]


class LengthFilter(Model):
    """Keep records whose ``of`` part measures between ``min`` and ``max`` units, inclusive."""

    kind: Literal["length"]
    of: Part = Field("completion", description="Part of the record that is measured.")
    unit: Literal["characters", "words", "tokens"] = Field(
        "words", description="What is counted; tokens are those of the base's tokenizer."
    )
    min: Count = Field(0, description="Least length that is kept.")
    max: Positive = Field(1_000_000_000, description="Greatest length that is kept.")


class EmptyFilter(Model):
    """Drop records with an empty prompt, completion or turn."""

    kind: Literal["empty"]


class RefusalFilter(Model):
    """Drop records whose completion refuses; ``phrases`` adds to the shipped list."""

    kind: Literal["refusal"]
    phrases: Many[str] = Field((), description="More phrases that mark a refusal.")


class BoilerplateFilter(Model):
    """Drop records with phrases of a web page's or a chat window's frame; ``phrases`` adds some."""

    kind: Literal["boilerplate"]
    of: Part = Field("completion", description="Part of the record that is searched.")
    phrases: Many[str] = Field((), description="More phrases that mark boilerplate.")


class TruncatedFilter(Model):
    """Drop records whose completion stops in mid-sentence or with brackets left open."""

    kind: Literal["truncated"]


class EncodingFilter(Model):
    """Drop records with wrongly decoded text (mojibake, replacement or control characters)."""

    kind: Literal["encoding"]


class SymbolsFilter(Model):
    """Drop records in which more than ``max`` of the visible characters are ``what``."""

    kind: Literal["symbols"]
    of: Part = Field("completion", description="Part of the record that is measured.")
    what: Literal["symbols", "digits"] = Field("symbols", description="What is counted.")
    max: Fraction = Field(0.3, description="Greatest share that is kept.")


class RepetitionFilter(Model):
    """Drop texts that repeat themselves, by the rules of Gopher (Rae et al. 2021, table A1)."""

    kind: Literal["repetition"]
    of: Part = Field("completion", description="Part of the record that is measured.")
    strictness: Annotated[float, Field(gt=0.0, le=4.0)] = Field(
        1.0, description="Divides every limit of the paper; above 1 drops more."
    )


class EchoFilter(Model):
    """Drop records whose completion begins by repeating a prompt of at least ``min`` characters."""

    kind: Literal["echo"]
    min: Positive = Field(20, description="Shorter prompts, in characters, are not looked at.")


class RolesFilter(Model):
    """Drop conversations whose turns do not alternate, or that do not end with an answer."""

    kind: Literal["roles"]


class UrlFilter(Model):
    """Drop records whose ``of`` part is nothing but web addresses."""

    kind: Literal["url-only"]
    of: Part = Field("completion", description="Part of the record that is looked at.")


Personal = Literal["email", "phone", "card", "iban", "key"]


class PiiFilter(Model):
    """Find personal data and secrets; drop, redact or tag the records that have some.

    Redaction writes ``[EMAIL]``, ``[PHONE]``, ``[CARD]``, ``[IBAN]`` or ``[KEY]`` instead. What the
    text was before is kept in the dataset's changes.
    """

    kind: Literal["pii"]
    of: Part | Literal["record"] = Field(
        "record",
        description="What is searched: the turns of the prompt (user, system, tool results), the "
        "assistant's with their tool calls, both (whole), or tool definitions and unused columns "
        "as well (record).",
    )
    find: Annotated[Many[Personal], Field(min_length=1)] = Field(
        ("email", "phone", "card", "iban", "key"), description="What is searched for."
    )
    action: Literal["drop", "redact", "tag"] = Field(
        "drop",
        description="What a find does: drop the record, replace what was found, or only note it "
        "in the ledger.",
    )


class LanguageFilter(Model):
    """Keep records in one of the languages ``keep`` (needs the extra ``tuneforge[language]``)."""

    kind: Literal["language"]
    keep: Annotated[Many[Code], Field(min_length=1)] = Field(
        description="ISO 639-1 codes of the languages that are kept, such as `en`."
    )
    among: Many[Code] = Field(
        (),
        description="The languages a text may be in, those kept included; none means all 75, "
        "which takes 1 GB of memory.",
    )
    of: Part = Field("completion", description="Part of the record whose language is found.")
    min: Fraction = Field(0.5, description="Least confidence, summed over the languages kept.")
    shortest: Count = Field(
        20, description="Texts with fewer letters are kept: their language cannot be told."
    )


class CodeFilter(Model):
    """Require or forbid fenced code blocks, or drop records in which one is left open."""

    kind: Literal["code"]
    fences: Literal["require", "forbid", "closed"] = Field(
        "closed", description="What is asked of fenced code: to be there, to be absent, to end."
    )
    languages: Many[str] = Field(
        (), description="Count only blocks marked with one of these languages, such as `python`."
    )
    of: Part = Field("completion", description="Part of the record that is looked at.")


class WordlistFilter(Model):
    """Drop records with more than ``max`` words of a list, as whole words and whatever the case."""

    kind: Literal["wordlist"]
    words: Many[Annotated[str, Field(min_length=1)]] = Field(
        (), description="Words or phrases of the list."
    )
    path: str = Field("", description="A text file with one word or phrase a line, # for remarks.")
    of: Part = Field("whole", description="Part of the record that is searched.")
    max: Count = Field(0, description="Most occurrences that are kept.")

    @model_validator(mode="after")
    def _some_list(self) -> Self:
        if not self.words and not self.path:
            raise ValueError("needs `words`, a `path`, or both")
        return self


class ColumnFilter(Model):
    """Keep records whose number in an unused column of the data lies in ``min`` to ``max``."""

    kind: Literal["column"]
    column: str = Field(
        min_length=1, description="Name of the column, or /a/b for the field b of the column a."
    )
    min: float = Field(-1e308, description="Least value that is kept.")
    max: float = Field(1e308, description="Greatest value that is kept.")
    missing: Literal["drop", "keep"] = Field(
        "drop", description="What happens to a record that has no number there."
    )


class JudgeFilter(Model):
    """Keep records that a model behind an OpenAI-compatible endpoint scores at ``min`` or above.

    Answers are kept in the workspace by content: a record is paid for once.
    """

    kind: Literal["judge"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] = Field(
        description="Base address of the endpoint, such as https://api.openai.com/v1."
    )
    model: str = Field(min_length=1, description="Name of the model that judges.")
    rubric: str = Field(min_length=1, description="What is judged, and what each score means.")
    min: float = Field(description="Least score that is kept.")
    key_env: str = Field(
        "", description="Environment variable that holds the key; empty sends none."
    )
    budget: Positive = Field(
        1000, description="Most requests of one curation, repeated ones included."
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="Requests that are under way at once."
    )
    retries: Count = Field(4, description="Repetitions of a request that fails for a moment.")
    timeout: Annotated[float, Field(gt=0.0)] = Field(
        60.0, description="Seconds to wait for an answer."
    )


class Scored(Model):
    """What filters declare that put every record through the base model."""

    max_tokens: Positive = Field(
        1024, description="Tokens of a record that are looked at; the base's own limit holds, too."
    )
    micro_batch: Positive = Field(8, description="Records that go through the base at once.")


class PerplexityFilter(Scored):
    """Keep records whose text is neither too likely nor too unlikely under the base model."""

    kind: Literal["perplexity"]
    of: Part = Field("whole", description="Part of the record that is measured.")
    min: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Least perplexity kept.")
    max: Annotated[float, Field(gt=0.0)] = Field(1e308, description="Greatest perplexity kept.")


class DifficultyFilter(Scored):
    """Keep records by how little their prompt helps the base model to the answer (IFD).

    The score is the mean loss of the answer's tokens after the prompt over that without it (Li et
    al. 2023, arXiv:2308.12032): small where the prompt says it all, above 1 where it misleads.
    """

    kind: Literal["difficulty"]
    min: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Least score that is kept.")
    max: Annotated[float, Field(gt=0.0)] = Field(1.0, description="Greatest score that is kept.")


class SqlFilter(Model):
    """Keep records for which the DuckDB predicate ``keep`` is true."""

    kind: Literal["sql"]
    name: str = Field(min_length=1, description="The reason shown for a dropped record.")
    keep: str = Field(
        min_length=1, description="A DuckDB predicate over the record's columns, such as `prompt`."
    )


Filter = Annotated[
    LengthFilter
    | EmptyFilter
    | RefusalFilter
    | BoilerplateFilter
    | TruncatedFilter
    | EncodingFilter
    | SymbolsFilter
    | RepetitionFilter
    | EchoFilter
    | RolesFilter
    | UrlFilter
    | PiiFilter
    | LanguageFilter
    | CodeFilter
    | WordlistFilter
    | ColumnFilter
    | JudgeFilter
    | PerplexityFilter
    | DifficultyFilter
    | SqlFilter,
    Field(discriminator="kind"),
]
