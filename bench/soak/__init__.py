"""A soak: conversations in several processes for minutes, among faults, and everything read back afterwards."""
