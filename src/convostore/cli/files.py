"""Files that commands write: whole or not at all, and `-` for standard output."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TextIO

STANDARD = Path("-")
"""Stands for standard output."""


def check_writable(path: Path) -> None:
    """Refuse a path that `writing` would refuse.

    Raises:
        OSError: it cannot be written.
    """
    if path != STANDARD and not _is_device(path):
        _partial(path, delete=True).close()


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Open a file to write; it takes its place when the block ends well.

    Raises:
        OSError: the path cannot be written.
    """
    if path == STANDARD:
        yield _standard()
    elif _is_device(path):
        with _naming(path), path.open("w", encoding="utf-8") as file:
            yield file
    else:
        partial = _partial(path, delete=False)
        kept = Path(partial.name)
        try:
            with _naming(path), partial as file:
                yield file
            kept.replace(path)
        finally:
            kept.unlink(missing_ok=True)


def _standard() -> TextIO:
    """Return standard output, in UTF-8 like every file."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


def _partial(path: Path, *, delete: bool) -> Any:
    with _naming(path):
        return NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=delete)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let what the system says of a file name the path that was given."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()
