"""convostore: the persistence layer of a multi-tenant platform for conversational agents."""

from convostore.call.call import Call, Interceptor
from convostore.call.effects import Effect
from convostore.engines import Engine, Engines
from convostore.stores import Stores, open_stores

__all__ = ["Call", "Effect", "Engine", "Engines", "Interceptor", "Stores", "__version__", "open_stores"]

__version__ = "0.1.0"
