"""Use cases over the contracts: sweeping, re-embedding, upkeep of the audit trail."""
