"""Sessions on Redis or Valkey."""

from convostore.redis.client import check_eviction, create_client
from convostore.redis.dictionaries import train_dictionary
from convostore.redis.session import RedisSessionStore

__all__ = ["RedisSessionStore", "check_eviction", "create_client", "train_dictionary"]
