"""Tenants with the same ids in one store: what one is answered and keeps does not depend on the other."""
