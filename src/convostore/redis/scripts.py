"""Scripts in files, called by hash and loaded when the server does not know them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha1
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Script:
    """A script and the hash by which EVALSHA calls it."""

    text: str
    sha: str

    def by_hash(self, key: str, *arguments: Any) -> tuple[Any, ...]:
        """Return the command that runs it where it is known."""
        return ("EVALSHA", self.sha, 1, key, *arguments)

    def by_text(self, key: str, *arguments: Any) -> tuple[Any, ...]:
        """Return the command that loads and runs it."""
        return ("EVAL", self.text, 1, key, *arguments)


@cache
def load_script(package: str, name: str) -> Script:
    """Return a script by the package whose `lua/` holds it and its file's name."""
    text = files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


script = partial(load_script, "convostore.redis")
"""Returns a script of the session store by its name."""
