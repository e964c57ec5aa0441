"""Use cases over the contracts: sweeping, re-embedding, configurations in files, what an operator looks at."""
