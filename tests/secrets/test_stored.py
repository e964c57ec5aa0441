"""What is damaged where it is stored, or wrong in a file, is named and not quoted."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convostore.domain.codec import Codec
from convostore.domain.declaration import Declaration
from convostore.domain.declarations import DECLARATIONS, KEPT
from convostore.domain.sessions import PAYLOAD
from convostore.errors import StoreError
from convostore.replay import read, sample
from tests.secrets.canaries import LEAK, TOKEN
from tests.secrets.watching import told, watching
from tests.unit.examples import EXAMPLES

CODECS: dict[str, Codec[Any]] = {kept.name: kept.codec for kept in KEPT} | {"session in Redis": PAYLOAD}
DAMAGE: tuple[Any, ...] = (TOKEN, f"{TOKEN}\0", [TOKEN])
NAMED_DAMAGE: tuple[Any, ...] = (*DAMAGE, {f"{TOKEN} x": TOKEN}, {f"{TOKEN} y": None})
"""What stands where something else should."""


def damaged(document: Any, damage: tuple[Any, ...]) -> Iterator[Any]:
    """Yield copies of JSON in which one part is damaged."""
    yield from damage
    if isinstance(document, dict):
        parts: list[tuple[Any, Any]] = list(document.items())
    else:
        parts = list(enumerate(document)) if isinstance(document, list) else []
    for place, part in parts:
        # An unknown kind is named.
        for other in damaged(part, damage) if place != "kind" else ():
            changed = copy.copy(document)
            changed[place] = other
            yield changed


@pytest.mark.parametrize("name", CODECS)
def test_a_damaged_value_is_not_quoted(name: str) -> None:
    codec = CODECS[name]
    item = EXAMPLES[codec.model]
    beside = {field: getattr(item, field) for field in codec._beside}
    with watching() as watch:
        for document in damaged(json.loads(codec.to_document(item)), NAMED_DAMAGE):
            for text in (json.dumps(document), json.dumps(document)[:-1]):
                try:
                    codec.from_document(text, "id", **beside)
                except StoreError as error:
                    watch.hear_error(error, name)
    assert list(watch.leaks) == []
    assert watch.errors["Unreadable"] > 20


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.name)
def test_a_damaged_column_is_not_quoted(declaration: Declaration[Any]) -> None:
    codec = declaration.codec
    row = codec.to_row(EXAMPLES[codec.model])
    with watching() as watch:
        for place, column in enumerate(codec.columns):
            for other in map(json.dumps, NAMED_DAMAGE) if column in codec.nested else DAMAGE[:2]:
                try:
                    codec.from_row([*row[:place], other, *row[place + 1 :]])
                except StoreError as error:
                    watch.hear_error(error, column)
    assert list(watch.leaks) == []


@pytest.mark.parametrize("kind", sorted({record.kind for record in sample()}))
def test_a_line_of_a_file_is_not_quoted(kind: str, tmp_path: Path) -> None:
    record = next(record for record in sample() if record.kind == kind)
    with watching() as watch:
        for number, document in enumerate(damaged(record.model_dump(mode="json"), DAMAGE)):
            for name, text in (("x.jsonl", json.dumps(document)), ("y.jsonl", json.dumps(document)[:-1])):
                (tmp_path / name).write_text(text)
                try:
                    list(read(tmp_path / name))
                except StoreError as error:
                    watch.hear_error(error, kind)
            if number > 60:
                break
    assert list(watch.leaks) == []
    assert watch.errors["ValidationError"] > 20


def test_a_name_that_a_customer_chose_is_not_quoted(tmp_path: Path) -> None:
    record = next(record for record in sample() if record.kind == "conversation").model_dump(mode="json")
    (tmp_path / "x.jsonl").write_text(
        json.dumps({**record, "customer": {TOKEN.upper(): 1}, "order": {f"{TOKEN} x": 2}})
    )
    with pytest.raises(StoreError, match=r"customer\.\*") as refused:
        list(read(tmp_path / "x.jsonl"))
    assert not LEAK.search(told(refused.value))
