"""Lua scripts from files, run by EVALSHA, and by EVAL where the server has not loaded them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha1
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Script:
    """A script and its SHA-1, by which EVALSHA names it."""

    text: str
    sha: str

    def by_hash(self, key: str | tuple[str, ...], *arguments: Any) -> tuple[Any, ...]:
        """Return the command that runs it on a key, or several of one slot, once it is loaded."""
        return ("EVALSHA", self.sha, *_counted(key), *arguments)

    def by_text(self, key: str | tuple[str, ...], *arguments: Any) -> tuple[Any, ...]:
        """Return the command that loads and runs it."""
        return ("EVAL", self.text, *_counted(key), *arguments)


def _counted(key: str | tuple[str, ...]) -> tuple[int | str, ...]:
    return (1, key) if isinstance(key, str) else (len(key), *key)


@cache
def load_script(package: str, name: str) -> Script:
    """Return the script of a file in a package's `lua/`."""
    text = files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


script = partial(load_script, "convostore.redis")
"""Returns a script of the session store by its name."""
