"""The base of every model: no unknown fields, validated on assignment, validated again and copied when handed over."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from convostore.models.docstrings import attribute_docstrings


class Model(BaseModel):
    """Pure data without I/O. The docstring below a field is its description in JSON schema and OpenAPI."""

    store_managed: ClassVar[tuple[str, ...]] = ()
    """Store-managed fields: a save sets them, and the caller's object holds the new values afterwards."""

    defaulted: ClassVar[tuple[str, ...]] = ()
    """Fields that get a store's default where they are None; the caller's object holds it afterwards."""

    gained: ClassVar[tuple[str, ...]] = ()
    """Fields that the model did not have at first: they are absent from its canonical form while they are None."""

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        # A nested model, and one passed to a store, is validated deeply and copied: its lists may have been mutated
        # since it was constructed.
        revalidate_instances="always",
        # Schemas are built on first use, which keeps imports short.
        defer_build=True,
        # Errors report bounds and reasons; values are customer data.
        hide_input_in_errors=True,
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        descriptions = attribute_docstrings(cls.__module__).get(cls.__qualname__, {})
        for name in descriptions.keys() & cls.model_fields.keys():
            cls.model_fields[name].description = descriptions[name]


class FrozenModel(Model):
    """An immutable model: assignment raises an error."""

    model_config = ConfigDict(frozen=True)
