-- What must be there before the first migration: roles, schema, extension. Any number of processes may run this at once.

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

-- Without inheritance: a policy for a role also holds for those who inherit from it, and the one of this role is `true`.
GRANT convostore_search TO convostore_owner WITH INHERIT FALSE;

GRANT convostore_owner, convostore_app, convostore_maintenance TO CURRENT_USER;

CREATE EXTENSION IF NOT EXISTS vector;

CREATE SCHEMA IF NOT EXISTS convostore AUTHORIZATION convostore_owner;
