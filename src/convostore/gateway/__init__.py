"""The table gateway, which a backend implements once, and the stores that are written over it."""
