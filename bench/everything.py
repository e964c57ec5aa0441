"""`python -m bench.everything`: all that the page of the figures shows, one program after the other, and the page.

Each program runs in a process of its own and writes its figures to build/bench; the page is made of those, so that
one part can be measured again alone.
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
        "methods": [python, "-m", "bench.methods", "--concurrent", "1", "64", *rare],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.everything", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5, help="blocks of each way per measurement (default: 5)")
    parser.add_argument("--only", action="append", choices=parts(1), help="measure this part anew; repeatable")
    parser.add_argument("--page", action="store_true", help="measure nothing, make the page")
    arguments = parser.parse_args()
    FIGURES.mkdir(parents=True, exist_ok=True)
    wanted = {} if arguments.page else parts(arguments.rounds)
    for name, command in wanted.items():
        if arguments.only and name not in arguments.only:
            continue
        started = time.monotonic()
        done = subprocess.run([*command, "--json", str(FIGURES / f"{name}.json")], cwd=ROOT, check=False)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode:
            return done.returncode
    if missing := [name for name in parts(1) if not (FIGURES / f"{name}.json").exists()]:
        print(f"no page without {', '.join(missing)}", file=sys.stderr)
        return 1
    page.write(FIGURES, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
