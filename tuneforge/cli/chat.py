"""``tuneforge chat``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuneforge.cli.options import SPEC, AsJson, Sets, WorkspacePath, write_json

if TYPE_CHECKING:
    from tuneforge.chat.conversation import Manner
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
    json: AsJson = False,
) -> None:
    """Talk to a model; its answer appears as it is made.

    Without a terminal, what standard input holds is asked once. An empty line ends the talk, and
    /reset forgets what was said. With --json and no --prompt each line of standard input is a
    request, {"say": TEXT} or {"reset": true}, and each line of output an event.
    """
    from tuneforge_specs.errors import UsageError

    asked = prompt
    if not asked and not json and not sys.stdin.isatty():
        asked = sys.stdin.read().strip()
        if not asked:
            raise UsageError("nothing was asked", "give --prompt TEXT, or text on standard input")
    speaker = _speaker(model, spec, sets, workspace)
    from tuneforge.chat.conversation import Conversation, Manner

    manner = Manner(system, max_new_tokens, temperature)
    if json:
        _answer_scripts(speaker, manner, asked)
        return
    conversation = Conversation(speaker, manner, _write)
    if asked:
        conversation.ask(asked)
        _write("\n")
        return
    sys.stdout.write(f"{speaker.name}; an empty line ends the talk, /reset starts it again\n")
    for line in iter(_ask, ""):
        if line == "/reset":
            conversation.reset()
        else:
            said = conversation.ask(line)
            _write("\n" if said.ended else f"\n[cut at {max_new_tokens} tokens]\n")


def _answer_scripts(speaker: "Speaker", manner: "Manner", asked: str) -> None:
    from tuneforge.chat.conversation import Conversation
    from tuneforge.chat.lines import serve

    if not asked:
        serve(speaker, manner, sys.stdin, _write)
        return
    said = Conversation(speaker, manner, lambda piece: None).ask(asked)  # noqa: ARG005
    write_json({"model": speaker.name, **vars(said)})


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


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
