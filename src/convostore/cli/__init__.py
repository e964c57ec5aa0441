"""The command line, `convostore …`."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line. Standard output that takes nothing ends it with 2, and with 1 if nobody reads it."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # text for people; what programs read loses nothing
    try:
        try:
            _run()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what is flushed at exit
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        print(f"convostore: standard output: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def _run() -> None:
    try:
        from convostore.cli.app import app

        app(prog_name="convostore")
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit('convostore: the command line needs: pip install "convostore[cli]"')
    except KeyboardInterrupt:  # while the commands are imported
        sys.exit(130)
