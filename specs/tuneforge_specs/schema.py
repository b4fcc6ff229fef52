"""The JSON Schema of a spec, for editors: completion, hover texts and checks while typing."""

from typing import Any

from tuneforge_specs.spec import Spec

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_INCLUDE = {
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "title": "include",
    "description": "TOML files whose tables this one adds to and overrides; paths start here.",
}


def schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a spec file.

    Nothing is required at the top: a file may leave tables to those it includes.
    """
    document = Spec.model_json_schema(by_alias=True, mode="validation")
    for table in (document, *document.get("$defs", {}).values()):
        _name_fields(table)
    document["properties"]["include"] = _INCLUDE
    document.pop("required", None)
    document["title"] = "Tuneforge spec"
    return {"$schema": _DIALECT, **document}


def _name_fields(table: dict[str, Any]) -> None:
    """Title each key as it is written, and describe a union's tag by what it selects."""
    about = table.get("description", "").split("\n\n")[0].replace("``", "`").replace("\n", " ")
    if about:
        table["description"] = about
    for key, field in table.get("properties", {}).items():
        if "patternProperties" in field:
            field["additionalProperties"] = False
        field["title"] = key
        if "const" in field:
            field.setdefault("description", about)
