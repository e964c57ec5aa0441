"""The page of commands is the command line's own help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from convostore.cli.app import app
from tests.docs.pages import DOCS


def commands(command: Any, *path: str) -> Iterator[str]:
    """Yield a row of the page for each command below this one."""
    below = getattr(command, "commands", {})
    if not below or (command.invoke_without_command and path[1:]):
        arguments = [each.name.upper() for each in command.params if each.param_type_name == "argument"]
        options = [f"`{each.opts[0]}`" for each in command.params if each.param_type_name == "option"]
        row = f"| `{' '.join((*path, *arguments))}`<br>{command.help} | {' '.join(options)}"
        yield f"{row.rstrip()} |"
    for name, each in below.items():
        yield from commands(each, *path, name)


def test_the_page_lists_every_command_with_its_help_and_options() -> None:
    page = (DOCS / "reference" / "commands.md").read_text("utf-8")
    assert re.findall(r"^\| `convostore.*$", page, re.MULTILINE) == list(commands(get_command(app), "convostore"))
