"""The speed goals: every operation against what one would write by hand on the bare driver."""
