"""convostore: the persistence layer of a multi-tenant platform for conversational agents."""

from convostore.stores import Stores, open_stores

__all__ = ["Stores", "open_stores"]
