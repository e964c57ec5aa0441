"""Every method of the stores, and the same by hand."""
