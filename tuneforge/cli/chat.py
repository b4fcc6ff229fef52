"""``tuneforge chat``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuneforge.cli.options import SPEC, Sets, WorkspacePath

if TYPE_CHECKING:
    from tuneforge.chat.speaker import Speaker

HELP = "A model folder, or a merge, train step or `base` of the spec; default: its last merge."


def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=HELP)] = "",
    *,
    spec: Annotated[Path, typer.Option("--spec", metavar="SPEC", help="The spec file.")] = SPEC,
    sets: Sets = None,
    workspace: WorkspacePath = None,
    prompt: Annotated[str, typer.Option("--prompt", help="Ask this once and exit.")] = "",
    system: Annotated[str, typer.Option("--system", help="The system turn.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 256,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: always the likeliest.")] = 0.0,
) -> None:
    """Talk to a model; its answer appears as it is made.

    Without a terminal, what standard input holds is asked once. An empty line ends the talk, and
    /reset forgets what was said.
    """
    from tuneforge_specs.errors import UsageError

    asked = prompt
    if not asked and not sys.stdin.isatty():
        asked = sys.stdin.read().strip()
        if not asked:
            raise UsageError("nothing was asked", "give --prompt TEXT, or text on standard input")
    speaker = _speaker(model, spec, sets, workspace)
    from tuneforge.chat.conversation import Conversation, Manner

    manner = Manner(system, max_new_tokens, temperature)
    conversation = Conversation(speaker, manner, sys.stdout)
    if asked:
        conversation.ask(asked)
        return
    sys.stdout.write(f"{speaker.name}; an empty line ends the talk, /reset starts it again\n")
    for line in iter(_ask, ""):
        if line == "/reset":
            conversation.reset()
        else:
            conversation.ask(line)


def _ask() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


def _speaker(model: str, spec: Path, sets: list[str] | None, workspace: Path | None) -> "Speaker":
    from tuneforge.chat.speaker import speaker_in_folder, speaker_in_spec

    if model and Path(model).is_dir():
        return speaker_in_folder(Path(model))
    from tuneforge.cli.options import open_spec

    loaded, place = open_spec(spec, sets, workspace)
    return speaker_in_spec(loaded, place, model)
