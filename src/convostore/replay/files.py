"""Reads records from files: JSON Lines, and the JSON files of the ABCD data set."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib.resources import as_file, files
from pathlib import Path

import pydantic

from convostore.errors import ValidationError
from convostore.replay import abcd
from convostore.replay.records import RECORD, Record


def read(path: Path) -> Iterator[Record]:
    """Yield the records of a file: of `.json` as ABCD's guidelines, actions or conversations, else one per line.

    Raises:
        ValidationError: the file cannot be read, or a line is not a record; the message names it.
    """
    try:
        if path.suffix == ".json":
            yield from abcd.records(json.loads(path.read_bytes()), path.name)
        else:
            with path.open("rb") as lines:
                yield from _parsed(lines, path.name)
    except OSError as error:
        raise ValidationError(f"{path.name}: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path.name}: is not JSON ({error})") from error
    except pydantic.ValidationError as error:
        raise ValidationError(f"{path.name}: {_explained(error)}") from error


def sample() -> list[Record]:
    """Return the packaged sample: a bookshop's agent and a few conversations."""
    with as_file(files("convostore.replay").joinpath("sample.jsonl")) as path:
        return list(read(path))


def _parsed(lines: Iterable[bytes], name: str) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield RECORD.validate_json(line)
        except pydantic.ValidationError as error:
            raise ValidationError(f"{name}, line {number}: {_explained(error)}") from error


def _explained(error: pydantic.ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
