"""`python -m bench.everything`: all that the page of the figures shows, one program after the other, and the page.

Each program runs in a process of its own and writes its figures to build/bench; the page is made of those, so that
one part can be measured again alone. What the goals are compared with is measured twice, before and after all else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench import page
from bench.__main__ import positive

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "build" / "bench"
AGAIN = FIGURES / "again"
PEERS = ROOT / ".venv-peers" / "bin" / "python"


def parts(rounds: int) -> dict[str, list[str]]:
    """Return the programs with their arguments, by the part of the page that is theirs."""
    often = ["--rounds", str(rounds)]
    rare = ["--rounds", str(max(1, rounds // 3))]
    python = sys.executable
    return {
        "turn": [python, "-m", "bench.turn", *often],
        "steps": [python, "-m", "bench.steps", *often],
        "peers": [str(PEERS), "-m", "bench.peers", *often],
        "goals": [python, "-m", "bench", *often],
        "growth": [python, "-m", "bench.growth", *often],
        "bulk": [python, "-m", "bench.bulk", "--episodes", "10000", *often],
        "sizes": [python, "-m", "bench.sizes"],
        "concurrent": [python, "-m", "bench", *_CONCURRENT, *often],
        "methods": [python, "-m", "bench.methods", "--concurrent", "1", "64", *rare],
    }


TWICE = ("turn", "steps", "goals", "bulk")
"""The parts that have goals."""
_CONCURRENT = [
    *("--concurrent", "1", "16", "64", "256"),
    *("--only", "session-get", "--only", "session-get-recent", "--only", "session-save"),
    *("--only", "session-save-tiered", "--only", "agent-get", "--only", "rule-save", "--only", "profile-get"),
    *("--only", "profile-update-field", "--only", "episodes-add-two", "--only", "turn-save", "--only", "event-save"),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.everything", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5, help="blocks of each way per measurement (default: 5)")
    parser.add_argument("--only", action="append", choices=parts(1), help="measure this part anew; repeatable")
    parser.add_argument("--page", action="store_true", help="measure nothing, make the page")
    arguments = parser.parse_args()
    AGAIN.mkdir(parents=True, exist_ok=True)
    commands = parts(arguments.rounds)
    runs = [*((FIGURES, name) for name in commands), *((AGAIN, name) for name in TWICE)]
    for folder, name in runs:
        if arguments.page or (arguments.only and name not in arguments.only):
            continue
        started = time.monotonic()
        done = subprocess.run([*commands[name], "--json", str(folder / f"{name}.json")], cwd=ROOT, check=False)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode:
            return done.returncode
    if missing := [file for file in (folder / f"{name}.json" for folder, name in runs) if not file.exists()]:
        print(f"no page without {', '.join(str(file.relative_to(FIGURES)) for file in missing)}", file=sys.stderr)
        return 1
    page.write(FIGURES, AGAIN, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
