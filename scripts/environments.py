"""The wheel as a user meets it: installed into an empty environment, and used there."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"

MEMORY = """
import asyncio, uuid, convostore
from convostore.models import Channel

async def main():
    tenant, agent = uuid.uuid4(), uuid.uuid4()
    async with convostore.open_stores({arguments}) as stores:
        session, created = await stores.sessions.get_or_create(tenant, agent, Channel.EMAIL, "ann@example.com")
        session.variables["seen"] = True
        await stores.sessions.save(session)
        assert created and (await stores.sessions.get(session.session_id)).variables == {{"seen": True}}

asyncio.run(main())
"""
IN_MEMORY = ("python", "-c", MEMORY.format(arguments="backend='memory'"))
ON_ENGINES = ("python", "-c", MEMORY.format(arguments="ephemeral=True"))
VERSION = ("convostore", "--version")

TRIALS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (IN_MEMORY,),
    "cli": (IN_MEMORY, VERSION),
    "otel": (IN_MEMORY, ("python", "-c", "import opentelemetry.trace")),
    "testing": (IN_MEMORY, ("python", "-c", "import convostore.testing, convostore.testing.machines")),
    "embedded": (IN_MEMORY, ON_ENGINES),
    "all": (IN_MEMORY, VERSION, ("convostore", "demo", "--json")),
}
"""What is run where an extra is installed; the empty name is none."""


class Failed(Exception):
    """A command failed; the message is the command and what it said."""


def run(*command: str | Path, **variables: str) -> str:
    """Run a command at the root; return what it prints.

    Raises:
        Failed: its exit code is not 0.
    """
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(out: Path) -> tuple[Path, Path]:
    """Build sdist and, from it, wheel into a directory; return the files."""
    run(UV, "build", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def python_at_hand(version: str) -> str | None:
    """Return the path of a Python that is installed (on the path, by uv or by pyenv), None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *glob.glob(f"{pyenv}/versions/{version}*/bin")])
    try:
        return run(UV, "python", "find", "--no-python-downloads", "--no-project", version, PATH=path).strip()
    except Failed:
        return None


def install(python: str, environment: Path, *arguments: str | Path) -> None:
    """Install packages into a new, empty environment; arguments are those of `uv pip install`.

    Raises:
        Failed: they cannot be installed.
    """
    run(UV, "venv", "--quiet", "--clear", "--no-project", "--python", python, environment)
    run(UV, "pip", "install", "--quiet", "--python", environment / "bin" / "python", *arguments)


def try_out(environment: Path, extra: str) -> None:
    """Run what an extra offers, in the environment where it is installed.

    Raises:
        Failed: something fails there.
    """
    for program, *arguments in TRIALS[extra]:
        run(environment / "bin" / program, *arguments, PYTHONSAFEPATH="1", PYTHONPATH="")
