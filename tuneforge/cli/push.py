"""``tuneforge push``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tuneforge.cli.options import AsJson, write_json


def push(
    folder: Annotated[Path, typer.Argument(metavar="EXPORT", help="The folder of an export.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where to.")],
    *,
    upload: Annotated[
        bool, typer.Option("--upload", help="Do it; without this, only say what would be done.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Default: a private repository.")
    ] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", metavar="URL", help="Another hub.")] = "",
    json: AsJson = False,
) -> None:
    """Upload an export to a Hugging Face hub, or, without --upload, say what would go there."""
    from tuneforge.export import push as hub

    plan = hub.plan_upload(folder, repository, endpoint=endpoint, private=not public)
    commit = hub.upload(plan) if upload else ""
    if json:
        values = {"repository": repository, "endpoint": plan.endpoint, "private": plan.private}
        write_json({**values, "files": dict(plan.files), "uploaded": upload, "commit": commit})
        return
    lines = [f"  {size / 1e6:10,.2f} MB  {name}" for name, size in plan.files]
    kind = "private" if plan.private else "public"
    what = "uploaded to" if upload else "would go to"
    lines.append(f"{plan.size / 1e6:,.2f} MB {what} {plan.endpoint}/{repository} ({kind})")
    lines.append(commit if upload else "nothing was sent; add --upload to do it")
    sys.stdout.write("\n".join(lines) + "\n")
