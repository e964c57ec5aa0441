-- Prerequisites of the first migration: roles, schema, extension. Idempotent, also when several processes run it at once.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['convostore_owner', 'convostore_app', 'convostore_maintenance', 'convostore_search'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- Roles belong to the whole server: another database, or another process, made it.
        END;
    END LOOP;
END
$$;

-- WITH INHERIT FALSE: a policy TO a role also applies to roles that inherit from it, and this role's policy is `true`.
GRANT convostore_search TO convostore_owner WITH INHERIT FALSE;

GRANT convostore_owner, convostore_app, convostore_maintenance TO CURRENT_USER;

CREATE EXTENSION IF NOT EXISTS vector;

CREATE SCHEMA IF NOT EXISTS convostore AUTHORIZATION convostore_owner;
