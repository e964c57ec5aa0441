"""The base of every model: no unknown fields, checked on assignment, checked again and copied when handed over."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Pure data.

    `stamps` names the fields that a store sets on a save; the caller's object holds their new values afterwards.
    """

    stamps: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(
        extra="forbid",
        validate_assignment=True,
        # A model inside a model, and one passed to a store, is checked deeply and copied: its lists may have been
        # changed since it was made.
        revalidate_instances="always",
        # Schemas are built on first use, which keeps imports short.
        defer_build=True,
        # Bounds and reasons are reported, values are not: they are the customer's.
        hide_input_in_errors=True,
    )


class FrozenModel(Model):
    """A record of what happened, which nothing may change."""

    model_config = ConfigDict(frozen=True)
