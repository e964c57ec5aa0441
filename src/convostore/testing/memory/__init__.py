"""The contract of memory stores."""
