"""Making one export: the format's work, its verification, and the report that ships with it."""

import json
from typing import Any

from tuneforge.export.formats import maker_of
from tuneforge.export.job import Job
from tuneforge.export.verify.report import Report


def make(job: Job, settings: Any) -> Report:
    """Make what ``settings`` (a table of the spec) declares and write verification.json.

    Raises GateFailed where the result differs from the model.
    """
    report = maker_of(settings.format)(job, settings)
    report.raise_failed()
    for check in report.checks:
        job.report.log(f"{check.file}: {check.name}: {check.detail}")
    for reason in report.unverified:
        job.report.warn(f"not verified: {reason}")
    text = json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n"
    (job.out / "verification.json").write_text(text, "utf-8")
    return report
