"""convostore: the persistence layer of a multi-tenant platform for conversational agents."""

from convostore.call.call import Call, Interceptor
from convostore.call.effects import Effect
from convostore.call.health import BackendHealth, Health
from convostore.engines import Engine, Engines
from convostore.stores import Stores, open_stores

__all__ = [
    "BackendHealth",
    "Call",
    "Effect",
    "Engine",
    "Engines",
    "Health",
    "Interceptor",
    "Stores",
    "__version__",
    "open_stores",
]

__version__ = "0.1.0"
