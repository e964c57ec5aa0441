"""The contract of configuration stores."""
