"""The contract of audit stores."""
