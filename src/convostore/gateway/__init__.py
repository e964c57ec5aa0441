"""The table gateway, what a backend implements per entity, and the stores written once above it."""
