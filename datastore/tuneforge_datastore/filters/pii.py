"""Personal data and secrets: dropped, redacted or tagged; see ``tuneforge_datastore.redaction``."""

from tuneforge_specs.filters import PiiFilter

from tuneforge_datastore.filters import Pass, Setting
from tuneforge_datastore.ledger import Ledger


def check(spec: PiiFilter) -> Pass:
    """Do with the records that have some what ``action`` says."""
    return Pass("pii", lambda setting, ledger: _run(spec, setting, ledger))


def _run(spec: PiiFilter, setting: Setting, ledger: Ledger) -> None:
    from tuneforge_datastore.redaction import find_rows, redact_rows

    if spec.action == "redact":
        rows = redact_rows(ledger, spec, setting.folders, setting.stage)
        ledger.note(setting.stage, "pii", rows, "changed")
    elif spec.action == "tag":
        ledger.note(setting.stage, "pii", find_rows(ledger, spec), "tagged")
    else:
        ledger.record(setting.stage, "pii", find_rows(ledger, spec))
