"""Sessions in two tiers: a system of record, and hot copies of it in Redis or Valkey that may be lost at any time."""

from convostore.tiered.store import TieredSessionStore

__all__ = ["TieredSessionStore"]
