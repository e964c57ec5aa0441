"""Models made of values as they are, without validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

Parts: TypeAlias = tuple[dict[str, Any], None, set[str]]
"""The values of all fields, nothing, and the fields that were given: as pydantic-core returns them."""

# Setting slots by their descriptors takes two thirds of the time that object.__setattr__ does.
_set_values, _set_given, _set_extra, _set_private = (
    vars(BaseModel)[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def maker(model: type[M]) -> Callable[[Parts], M]:
    """Return what makes a model of its parts."""
    new = object.__new__

    def make(parts: Parts) -> M:
        values, _, given = parts
        item = new(model)
        _set_values(item, values)
        _set_given(item, given)
        _set_extra(item, None)
        _set_private(item, None)
        return item

    return make
