"""convostore: the persistence layer of a multi-tenant platform for conversational agents."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convostore.call.call import Call, Interceptor
from convostore.call.effects import Effect
from convostore.call.health import BackendHealth, Health
from convostore.engines import Engine, Engines
from convostore.opening import open_stores
from convostore.stores import Stores

if TYPE_CHECKING:
    from convostore.contracts.unit_of_work import UnitOfWork
    from convostore.models.fields import Language
    from convostore.models.turn import Turn

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
    "Turn",
    "UnitOfWork",
    "__version__",
    "open_stores",
]

__version__ = "0.2.0"


_LAZY = {
    "Language": "convostore.models.fields",
    "Turn": "convostore.models.turn",
    "UnitOfWork": "convostore.contracts.unit_of_work",
}
"""What loads pydantic, which an import of the package does not need."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
