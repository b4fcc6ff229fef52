"""Custom columns: a spec's ``columns`` table names which column plays which role."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuneforge_specs.errors import UsageError
from tuneforge_specs.sources import Columns

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.completion import side
from tuneforge_datastore.ingest.formats.preference import pair
from tuneforge_datastore.ingest.formats.unpaired import judgement
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import tools_json, turns
from tuneforge_datastore.records import Kind, Message, Record


def custom(columns: Columns) -> Format:
    """Make the format that ``columns`` describes.

    Raises:
        UsageError: the columns named do not make a record.
    """
    mapping = _Mapping(columns, _kind(columns))
    return Format("columns", mapping.fits, mapping.convert)


def _kind(columns: Columns) -> Kind:
    answered = bool(columns.messages) or bool(columns.prompt and columns.completion)
    kinds: dict[Kind, bool] = {
        "preference": bool(columns.chosen and columns.rejected),
        "unpaired": answered and bool(columns.label),
        "instruction": answered and not columns.label,
        "text": bool(columns.text),
    }
    made = [kind for kind, named in kinds.items() if named]
    if len(made) != 1:
        raise UsageError(
            "columns: the names given make "
            + ("no record" if not made else " and also ".join(f"a {kind} record" for kind in made)),
            "name messages; or prompt and completion (and label); or chosen, rejected and prompt "
            "or messages; or text alone",
        )
    return made[0]


@dataclass(frozen=True)
class _Mapping:
    columns: Columns
    kind: Kind

    @property
    def named(self) -> dict[str, str]:
        return {role: name for role, name in self.columns.model_dump().items() if name}

    def fits(self, _columns: frozenset[str], _rows: Sequence[Values]) -> str:
        return "columns " + ", ".join(f"{role} = {name}" for role, name in self.named.items())

    def convert(self, row: Values) -> Record:
        for name in self.named.values():
            if name not in row:
                raise missing(row, name)
        record = self._record(row)
        columns = self.columns
        system = as_text(row[columns.system]) if columns.system else ""
        if system and not record.system and self.kind != "text":
            record.messages.insert(0, Message("system", system))
        if columns.tools:
            record.tools = tools_json(row[columns.tools], columns.tools)
        if columns.label:
            record.label = judgement(row[columns.label], columns.label)
        if columns.id:
            record.key = as_text(row[columns.id])
            if not record.key:
                raise RowError(f"{columns.id} is empty, but names the record")
        record.meta = unused(row, frozenset(self.named.values()))
        return record

    def _record(self, row: Values) -> Record:
        columns = self.columns
        if self.kind == "text":
            return Record("text", text=as_text(row[columns.text]))
        prompt = turns(row[columns.messages], columns.messages) if columns.messages else []
        if columns.prompt and not columns.messages:
            prompt = side(row[columns.prompt], columns.prompt, "user")
        if self.kind == "preference":
            return pair(
                prompt,
                side(row[columns.chosen], columns.chosen, "assistant"),
                side(row[columns.rejected], columns.rejected, "assistant"),
            )
        if columns.completion:
            prompt += side(row[columns.completion], columns.completion, "assistant")
        if not prompt:
            raise RowError(f"{columns.messages} is empty")
        return Record(self.kind, prompt)
