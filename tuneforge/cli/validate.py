"""``tuneforge validate``."""

import sys

from tuneforge_specs.errors import SpecError
from tuneforge_specs.loader import load

from tuneforge.cli.options import SPEC, AsJson, Sets, SpecPath, write_json


def validate(spec: SpecPath = SPEC, *, sets: Sets = None, json: AsJson = False) -> None:
    """Check a spec and list every problem with its line and its fix."""
    try:
        loaded = load(spec, sets or ())
    except SpecError as error:
        if json:
            write_json({"valid": False, "problems": [vars(p) for p in error.problems]})
        raise
    if json:
        write_json({"valid": True, "warnings": [vars(w) for w in loaded.warnings]})
        return
    for warning in loaded.warnings:
        sys.stdout.write(f"warning: {warning}\n")
    sys.stdout.write(f"{spec}: valid\n")
