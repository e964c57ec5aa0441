"""Contract methods written once above the waist; a backend supplies the tables and what is special."""
