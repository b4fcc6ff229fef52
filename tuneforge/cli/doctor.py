"""``tuneforge doctor``."""

import sys
from pathlib import Path

from tuneforge_specs.errors import EnvironmentMissing

from tuneforge.cli.options import AsJson, WorkspacePath, write_json

_SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(*, workspace: WorkspacePath = None, json: AsJson = False) -> None:
    """Check this machine: packages, device, disk and workspace; exit 6 where a build must fail."""
    from tuneforge.doctor import checks
    from tuneforge.workspace import FOLDER

    found = checks(workspace if workspace is not None else Path(FOLDER))
    if json:
        write_json([vars(check) for check in found])
    else:
        for check in found:
            sys.stdout.write(f"{_SIGNS[check.status]}  {check.name:<10} {check.detail}\n")
            if check.fix:
                sys.stdout.write(f"      {'':<10} fix: {check.fix}\n")
    failed = [check.name for check in found if check.status == "fail"]
    if failed:
        sys.stdout.flush()
        raise EnvironmentMissing(
            f"this machine is not ready: {', '.join(failed)}", "see the fix beside each check"
        )
