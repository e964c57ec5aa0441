"""The contract of session stores."""
