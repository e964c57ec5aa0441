"""The migrations, oldest first; each has its SQL beside it."""
