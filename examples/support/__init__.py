"""A customer service for many companies: a FastAPI service whose agent remembers, and proves what it said."""
