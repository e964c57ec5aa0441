"""The rules of the entities, without I/O: declarations, revisions, profiles, the audit chain, sessions, scoring."""
