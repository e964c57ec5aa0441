"""The contract of turns, a file per topic."""
