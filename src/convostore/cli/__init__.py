"""The command line, `convostore …`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from convostore.cli.app import app

        app(prog_name="convostore")
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit('convostore: the command line needs: pip install "convostore[cli]"')
    except KeyboardInterrupt:  # while the commands are imported
        sys.exit(130)
