"""Sessions on Redis or Valkey."""

from convostore.redis.client import create_client
from convostore.redis.session import RedisSessionStore

__all__ = ["RedisSessionStore", "create_client"]
