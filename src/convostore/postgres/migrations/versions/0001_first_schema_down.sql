-- What the first schema created, dropped again.

REVOKE SELECT ON convostore.alembic_version FROM convostore_app, convostore_maintenance;

DROP FUNCTION convostore.similarity;

DROP FUNCTION convostore.direction;

DROP FUNCTION convostore.distance;

DROP FUNCTION convostore.session_tenant;

DROP FUNCTION convostore.tenants_with_old_sessions;

DROP FUNCTION convostore.vector_spaces;

DROP FUNCTION convostore.matching_episodes;

DROP FUNCTION convostore.profile_document;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'convostore' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DROP TABLE convostore.%I CASCADE', name);
    END LOOP;
END
$$;

DROP FUNCTION convostore.set_episode_words;

DROP FUNCTION convostore.words_of;

DROP FUNCTION convostore.text_scope;

DROP FUNCTION convostore.refuse_change;

DROP FUNCTION convostore.current_tenants;

REVOKE USAGE ON SCHEMA convostore FROM convostore_app, convostore_maintenance, convostore_search;
