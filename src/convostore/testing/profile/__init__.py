"""The contract of profile stores."""
