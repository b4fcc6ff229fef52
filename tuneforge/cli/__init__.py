"""The command line: a table of commands, each loaded only when it is called."""

import sys
from collections.abc import Sequence

# name -> ("module:attribute", what it does); the attribute is a function or a typer.Typer.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("tuneforge.cli.init:init", "start a new spec from a recipe"),
    "validate": ("tuneforge.cli.validate:validate", "check a spec and list every problem"),
    "plan": ("tuneforge.cli.plan:plan", "show what a build would do, why, and whether it fits"),
    "build": ("tuneforge.cli.build:build", "bring everything the spec declares up to date"),
    "status": ("tuneforge.cli.status:status", "show what is built and what is running"),
    "explain": ("tuneforge.cli.explain:explain", "say why a step is cached or would run"),
    "attach": ("tuneforge.cli.attach:attach", "follow a run again"),
    "stop": ("tuneforge.cli.stop:stop", "ask a run to stop after its current step"),
    "runs": ("tuneforge.cli.runs:runs", "list training runs"),
    "data": ("tuneforge.cli.data:app", "look at data: ingest, preview, funnel, diff"),
    "sql": ("tuneforge.cli.sql:sql", "query the datastore, read-only"),
    "merge": ("tuneforge.cli.merge:merge", "merge models and adapters, without data or training"),
    "export": ("tuneforge.cli.export:export", "export a model folder"),
    "push": ("tuneforge.cli.push:push", "upload an export to a hub; says what it would do"),
    "evaluate": ("tuneforge.cli.evaluate:evaluate", "measure a model on held-out rows"),
    "chat": ("tuneforge.cli.chat:chat", "talk to a model"),
    "tui": ("tuneforge.cli.tui:tui", "open the cockpit"),
    "doctor": ("tuneforge.cli.doctor:doctor", "check this machine and its packages"),
    "schema": ("tuneforge.cli.schema:schema", "print the JSON Schema of specs"),
    "verify": ("tuneforge.cli.verify:verify", "hash a folder again and compare its manifest"),
    "gc": ("tuneforge.cli.gc:gc", "delete artifacts that no current spec needs"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(overview())
        return 0
    if words[0] == "--version":
        from tuneforge import __version__

        sys.stdout.write(f"tuneforge {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        sys.stderr.write(_unknown(words[0]))
        return 2
    from tuneforge.cli.invoke import invoke

    return invoke(words[0], COMMANDS[words[0]][0], words[1:], program=arguments is None)


def overview() -> str:
    """Write the help of the whole program."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return (
        "Usage: tuneforge COMMAND [OPTIONS] [ARGS]\n\n"
        "From raw data to a verified fine-tuned model, declared in one spec.\n\n"
        f"Commands:\n{lines}\n\n"
        "tuneforge COMMAND --help says more. Exit codes: 0 done, 1 a bug, 2 spec or usage, "
        "3 data,\n4 a gate failed, 5 training failed, 6 environment, 7 not as frozen, "
        "130 interrupted.\n"
    )


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, COMMANDS, n=1)
    fix = f"did you mean {close[0]}?" if close else "tuneforge --help lists the commands"
    return f"error: no command {word}\n  fix: {fix}\n"
