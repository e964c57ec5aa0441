"""convostore: the persistence layer of a multi-tenant platform for conversational agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convostore.call.call import Call, Interceptor
from convostore.call.effects import Effect
from convostore.call.health import BackendHealth, Health
from convostore.engines import Engine, Engines
from convostore.stores import Stores, open_stores

if TYPE_CHECKING:
    from convostore.models.fields import Language

__all__ = [
    "BackendHealth",
    "Call",
    "Effect",
    "Engine",
    "Engines",
    "Health",
    "Interceptor",
    "Language",
    "Stores",
    "__version__",
    "open_stores",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "Language":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from convostore.models.fields import Language  # loads pydantic, which an import of the package does not need

    return Language
