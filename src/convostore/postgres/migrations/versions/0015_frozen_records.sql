-- The vacuum that follows insertions freezes the records of the audit trail, so that none has to read them again.
-- phase: expand
-- compatible: 0001

-- up

-- A record never changes. Its lock lets reads and writes go on.
ALTER TABLE convostore.audit_record SET (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.02);

-- down

ALTER TABLE convostore.audit_record RESET (autovacuum_freeze_min_age, autovacuum_vacuum_insert_scale_factor);
