"""The lessons run as they stand and print what they show."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convostore.embedded import Embedded
from tests.docs.pages import DOCS, blocks, output_of

SUPPORT = DOCS / "tutorial" / "support-agent.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?(?: hl_lines="[^"]+")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def test_the_first_conversation_prints_what_the_page_shows(engines: Embedded) -> None:
    page = DOCS / "tutorial" / "first-conversation.md"
    printed = output_of(
        "\n\n".join(blocks(page, "python")),
        CONVOSTORE_POSTGRES_URL=engines.postgres_dsn,
        CONVOSTORE_REDIS_URL=engines.redis_url,
    )
    assert printed == "".join(blocks(page, "text")).splitlines()


def write(folder: Path, title: str, code: str) -> None:
    """Do with a block what its title asks for."""
    file, _, at_the_end = title.partition(", ")
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.read_text("utf-8") + code if at_the_end else code, "utf-8")


@contextmanager
def serving(command: str, folder: Path, port: str) -> Iterator[None]:
    """Run the command that the page has for the first terminal, without its reloads."""
    words = command.replace(" --reload --reload-dir support", "").replace("8000", port).split()
    words[0:1] = [sys.executable, "-m", Path(words[0]).name]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        seen = list[str]()
        for line in server.stderr:
            seen.append(line)
            if "Uvicorn running" in line:
                break
        else:
            pytest.fail("".join(seen))
        try:
            yield
        finally:
            server.terminate()
            server.communicate()


def free_port() -> str:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return str(each.getsockname()[1])


@pytest.mark.timeout(180)
def test_the_support_agent_says_what_the_page_shows(area: Path) -> None:
    pytest.importorskip("uvicorn", reason="the examples' own packages are locked for development only")
    folder, port, start, steps = area / "tutorial", free_port(), "", 0
    folder.mkdir()
    found = BLOCK.findall(SUPPORT.read_text("utf-8"))
    for (_, title, code), (_, _, shown) in zip(found, [*found[1:], ("", "", "")], strict=True):
        if title.startswith(("support/", "say.py", "tamper.py")):
            write(folder, title, code.replace("8000", port) if title == "say.py" else code)
        elif title == "change a rule":
            subprocess.run(["sh", "-euc", code], cwd=folder, check=True)
        elif title == "first terminal":
            start = code
        elif title == "second terminal":
            with serving(start, folder, port):
                script = re.sub(r"python3|\.venv/bin/python", sys.executable, code.replace(":8000", f":{port}"))
                environment = {**os.environ, "no_proxy": "*"}
                done = subprocess.run(
                    ["sh", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
            assert (done.stdout.rstrip("\n"), done.stderr) == (shown.rstrip("\n"), ""), title
            steps += 1
    assert steps == SUPPORT.read_text("utf-8").count('title="second terminal"')
