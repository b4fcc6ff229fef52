"""``tuneforge schema``."""

from tuneforge.cli.options import write_json


def schema() -> None:
    """Print the JSON Schema of specs, for completion and checks in an editor."""
    from tuneforge_specs.schema import schema as spec_schema

    write_json(spec_schema())
