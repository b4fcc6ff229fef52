"""Calls one command and turns what it raises into a message and an exit code."""

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from tuneforge_specs.errors import TuneforgeError
from tuneforge_specs.printing import printable
from typer.main import get_command

INTERRUPTED = 130
PIPE_CLOSED = 141  # what a shell reports for a program that SIGPIPE ended


def invoke(name: str, target: str, arguments: Sequence[str], *, program: bool) -> int:
    """Load ``module:attribute`` and run it with the arguments of one command.

    ``program`` says that the process ends with it: once interrupted it ignores Ctrl-C, as a second
    one would end in a traceback on the way out.
    """
    if program:
        # OpenBLAS would start, and let spin, a thread for each core that no command uses.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        # Looking for cycles as often as Python does by itself takes a tenth of a short command.
        gc.set_threshold(50_000, 20, 20)
    try:
        return _guarded(name, target, arguments, program=program)
    finally:
        # The memory goes with the process; Python would look through all of it twice before.
        # DuckDB's bindings would call what is not collected a leak.
        if program and "duckdb" not in sys.modules:
            gc.freeze()


def _guarded(name: str, target: str, arguments: Sequence[str], *, program: bool) -> int:
    """Run a command, and show what it raises."""
    try:
        code = _run(name, target, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again on exit; with the reader gone that must not be an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        _interrupted(program=program)
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except TuneforgeError as error:
        if error.exit_code == INTERRUPTED:
            _interrupted(program=program)
        sys.stderr.write(f"{describe(error)}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 (the last line of defence: no traceback on the screen)
        return _usage(error) or _of_the_machine(error, name) or _crash(error, name)
    return code


def _interrupted(*, program: bool) -> None:
    if program:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(name: str, target: str, arguments: Sequence[str]) -> int:
    module, attribute = target.split(":")
    command: Any = getattr(import_module(module), attribute)
    if isinstance(command, typer.Typer):
        app = command
        app.pretty_exceptions_enable = False
    else:
        app = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        app.command(name)(command)
    parser: Any = get_command(app)
    # Not through main(): it would turn Ctrl-C and a closed pipe into exit code 1.
    try:
        with parser.make_context(f"tuneforge {name}", list(arguments)) as context:
            result = parser.invoke(context)
    except typer.Exit as finished:
        return finished.exit_code
    return result if isinstance(result, int) else 0


def describe(error: TuneforgeError) -> str:
    """Write an error as it is shown: what is wrong, then the fix."""
    lines = (f"error: {line}" if n == 0 else line for n, line in enumerate(_lines(error)))
    return printable("\n".join(lines))


def _lines(error: TuneforgeError) -> list[str]:
    return str(error).splitlines() or [type(error).__name__]


def _usage(error: Exception) -> int:
    """Show an error of the argument parser, which is click's or typer's own copy of it."""
    show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
    if not callable(show) or not isinstance(code, int):
        return 0
    show()
    return code


def _of_the_machine(error: Exception, name: str) -> int:
    """Show what is wrong with the disk, memory or packages; 0 where it is something else."""
    from tuneforge.build.failures import as_user_error

    translated = as_user_error(f"tuneforge {name}", error, None)
    if translated is None:
        return 0
    sys.stderr.write(f"{describe(translated)}\n")
    return translated.exit_code


def _crash(error: Exception, name: str) -> int:
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="tuneforge-crash-", suffix=".txt")
    with os.fdopen(descriptor, "w") as file:
        file.write(f"tuneforge {' '.join(sys.argv[1:])}\npython {sys.version}\n\n")
        traceback.print_exception(error, file=file)
    sys.stderr.write(
        f"error: tuneforge {name} failed, which is a bug: {type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else ''}\n  details: {path}\n"
    )
    return 1
