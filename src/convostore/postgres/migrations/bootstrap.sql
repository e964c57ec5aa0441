-- Prerequisites of the first migration: roles, extension, schema. Idempotent, also when several processes run it at once. What an
-- administrator made beforehand is used as it is: then the owner of the database needs no privilege on roles.

DO $$
DECLARE
    name text;
BEGIN
    -- Each node of Citus makes them for itself, see `distributing`; in a transaction also what follows.
    PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    FOREACH name IN ARRAY ARRAY[
        'convostore_owner', 'convostore_app', 'convostore_maintenance', 'convostore_search', 'convostore_reader'
    ] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = name);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- Roles belong to the whole server: another database, or another process, made it.
        END;
    END LOOP;
    -- WITH INHERIT FALSE: a policy TO a role also applies to roles that inherit from it, and this role's policy is `true`.
    IF NOT pg_has_role('convostore_owner', 'convostore_search', 'SET') THEN
        GRANT convostore_search TO convostore_owner WITH INHERIT FALSE;
    END IF;
    FOREACH name IN ARRAY ARRAY['convostore_owner', 'convostore_app', 'convostore_maintenance', 'convostore_reader'] LOOP
        IF NOT pg_has_role(name, 'SET') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', name);
        END IF;
    END LOOP;
END
$$;

CREATE EXTENSION IF NOT EXISTS vector;

CREATE SCHEMA IF NOT EXISTS convostore AUTHORIZATION convostore_owner;
