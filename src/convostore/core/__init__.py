"""What every backend stands on: the boundary, entity declarations, scoring and shared method bodies."""
