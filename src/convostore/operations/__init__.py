"""Use cases over the contracts: sweeping, re-embedding, maintenance of the audit trail."""
