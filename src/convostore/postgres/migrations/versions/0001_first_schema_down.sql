-- What the first schema created, dropped again.

REVOKE SELECT ON convostore.alembic_version FROM convostore_app, convostore_maintenance;

DROP FUNCTION convostore.similarity;

DROP FUNCTION convostore.direction;

DROP FUNCTION convostore.distance;

DROP FUNCTION convostore.session_tenant;

DROP FUNCTION convostore.old_sessions;

DROP FUNCTION convostore.vector_spaces;

DROP FUNCTION convostore.matching_episodes;

DROP FUNCTION convostore.profile_document;

DROP FUNCTION convostore.refuse;

DROP FUNCTION convostore.record_audit;

DROP FUNCTION convostore.lock_audit_head;

DROP FUNCTION convostore.audit_hash;

DROP FUNCTION convostore.audit_body_dropped;

DROP FUNCTION convostore.create_audit_months;

DROP FUNCTION convostore.drop_audit_months;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'convostore' AND tablename <> 'alembic_version' LOOP
        -- A partition goes with its table.
        EXECUTE format('DROP TABLE IF EXISTS convostore.%I CASCADE', name);
    END LOOP;
END
$$;

DROP FUNCTION convostore.set_episode_words;

DROP FUNCTION convostore.words_of;

DROP FUNCTION convostore.text_scope;

DROP FUNCTION convostore.refuse_change;

DROP FUNCTION convostore.bind;

REVOKE USAGE ON SCHEMA convostore FROM convostore_app, convostore_maintenance, convostore_search;
