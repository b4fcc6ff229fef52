"""How long commands take that do no work: wall and CPU seconds, best and median of N runs.

    python benchmarks/startup.py [SPEC]

Without SPEC a project of 8 steps is made whose steps take milliseconds. With SPEC (built already)
its real plan, build with nothing to do, status and explain are timed.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAKES = Path(__file__).parent.parent / "tests" / "engine" / "fakes" / "engine_fakes.py"
RUNS = 15
LIMITS = {"--help": 0.3, "build": 0.7}


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; give its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def measure(program: list[str], commands: list[list[str]], folder: Path) -> None:
    """Time each command, interleaved, so that noise falls on all alike."""
    found: dict[str, list[tuple[float, float]]] = {" ".join(words): [] for words in commands}
    for words in commands:
        timed([*program, *words], folder)
    for _ in range(RUNS):
        for words in commands:
            found[" ".join(words)].append(timed([*program, *words], folder))
    print(f"{'command':<24} {'wall best':>10} {'median':>8} {'CPU best':>9} {'limit':>6}")
    for name, times in found.items():
        walls, cpus = zip(*times, strict=True)
        limit = LIMITS.get(name.split()[0])
        print(
            f"{name:<24} {min(walls):>9.3f}s {statistics.median(walls):>7.3f}s "
            f"{min(cpus):>8.3f}s {f'{limit}s' if limit else '':>6}"
        )


def main() -> None:
    if len(sys.argv) > 1:
        spec = Path(sys.argv[1]).absolute()
        program = [sys.executable, "-m", "tuneforge"]
        arguments, folder = [str(spec)], spec.parent
        timed([*program, "build", *arguments], folder)
    else:
        os.environ["PYTHONPATH"] = str(FAKES.parent)
        folder = Path(tempfile.mkdtemp(prefix="tuneforge-startup-"))
        code = f"import engine_fakes as f, pathlib; f.Project(pathlib.Path({str(folder)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        program, arguments = [sys.executable, str(FAKES)], []
        timed([*program, "build"], folder)
    step = ["explain", *arguments, "base"]
    names = ["build", "plan", "status", "validate"]
    measure([sys.executable, "-m", "tuneforge"], [["--help"]], folder)
    measure(program, [*([name, *arguments] for name in names), step], folder)


if __name__ == "__main__":
    main()
