-- The first schema: one table per entity, the profile tables, row-level security, an append-only audit trail.
-- phase: initial
-- compatible: 0001

-- up

-- Beside the version, which may be one that a release does not know: the oldest whose release works on the schema.
ALTER TABLE convostore.alembic_version ADD COLUMN IF NOT EXISTS compatible text NOT NULL DEFAULT '0001';

-- Tenants

-- STABLE, because Citus refuses VOLATILE functions in UPDATE; no SET clause, which would restore the setting on return.
CREATE FUNCTION convostore.bind(tenant uuid) RETURNS boolean LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    -- A simple expression: PERFORM would run a query. The connection's patience, which the stores set, limits this transaction
    -- where the connection has no limit of its own; PostgreSQL 16 has no transaction_timeout.
    RETURN set_config('convostore.tenant', tenant::text, true) IS NOT NULL
        AND CASE WHEN coalesce(current_setting('convostore.patience', true), '') = '' THEN true ELSE
            CASE WHEN current_setting('lock_timeout') = '0'
                THEN set_config('lock_timeout', current_setting('convostore.patience'), true) IS NOT NULL
                ELSE true END
            AND CASE WHEN current_setting('idle_in_transaction_session_timeout') = '0'
                THEN set_config('idle_in_transaction_session_timeout', current_setting('convostore.patience'), true)
                    IS NOT NULL
                ELSE true END
            AND CASE WHEN current_setting('transaction_timeout', true) = '0'
                THEN set_config('transaction_timeout', current_setting('convostore.patience'), true) IS NOT NULL
                ELSE true END
        END;
END
$$;

-- Returns true until a moment, by the server's clock, and then ends the statement: what its caller has given up is not
-- committed. STABLE for Citus, as `bind`.
CREATE FUNCTION convostore.in_time(until timestamptz) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF clock_timestamp() > until THEN
        RAISE EXCEPTION USING ERRCODE = 'query_canceled', MESSAGE = 'the deadline of the call has passed';
    END IF;
    RETURN true;
END
$$;

-- Enables and forces row-level security on a table, creates its policies and grants its privileges. Every migration calls it
-- for every table with a tenant_id that it creates; a table without it cannot be read by any role of the stores.
-- Rows of a table that is `appended` are written by functions of convostore_search, for the bound tenant, and by nobody else.
CREATE PROCEDURE convostore.protect(relation regclass, changeable boolean DEFAULT true, appended boolean DEFAULT false)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    bound text := 'USING (tenant_id = nullif(current_setting(''convostore.tenant'', true), '''')::uuid)';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY of_bound_tenant ON %s TO convostore_app, convostore_maintenance %s', relation, bound);
    EXECUTE format('GRANT SELECT ON %s TO convostore_app, convostore_maintenance', relation);
    IF appended THEN
        EXECUTE format('CREATE POLICY for_appending ON %s TO convostore_search %s', relation, bound);
        EXECUTE format('GRANT SELECT, INSERT ON %s TO convostore_search', relation);
        RETURN;
    END IF;
    EXECUTE format('CREATE POLICY for_search ON %s FOR SELECT TO convostore_search USING (true)', relation);
    EXECUTE format('GRANT INSERT ON %s TO convostore_app, convostore_maintenance', relation);
    IF changeable THEN
        EXECUTE format('GRANT UPDATE, DELETE ON %s TO convostore_app, convostore_maintenance', relation);
    END IF;
END
$$;

-- Vectors

CREATE FUNCTION convostore.similarity(a vector, b vector) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN vector_dims(a) = vector_dims(b)
        THEN round((1 - (l2_normalize(a) <=> l2_normalize(b)))::numeric, 6)::double precision
END;

CREATE FUNCTION convostore.direction(v vector) RETURNS halfvec
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN l2_normalize(v)::halfvec;

CREATE FUNCTION convostore.distance(a halfvec, b halfvec) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN a <#> b;

-- Configuration

CREATE TABLE convostore.agent (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text,
    system_prompt text,
    enabled boolean NOT NULL,
    current_version bigint NOT NULL,
    settings jsonb NOT NULL,
    metadata jsonb NOT NULL,
    write_id uuid,
    CONSTRAINT agent_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX agent_name_key ON convostore.agent (tenant_id, name) WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.agent');

CREATE TABLE convostore.rule (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    scope text NOT NULL,
    scope_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    agent_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text,
    condition_text text NOT NULL,
    action_text text NOT NULL,
    priority bigint NOT NULL,
    enabled boolean NOT NULL,
    max_fires_per_session bigint NOT NULL,
    cooldown_turns bigint NOT NULL,
    is_hard_constraint boolean NOT NULL,
    attached_tool_ids text[] NOT NULL,
    attached_template_ids uuid[] NOT NULL,
    embedding vector,
    embedding_model text,
    write_id uuid,
    dimensions smallint GENERATED ALWAYS AS (vector_dims(embedding)) STORED,
    model_hash bigint GENERATED ALWAYS AS (hashtextextended(embedding_model, 0)) STORED,
    direction halfvec STORAGE MAIN GENERATED ALWAYS AS (l2_normalize(embedding)::halfvec) STORED,
    CONSTRAINT rule_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX rule_agent_id_idx ON convostore.rule (tenant_id, agent_id, priority DESC, name, id) WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.rule');

CREATE TABLE convostore.scenario (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    agent_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text,
    version bigint NOT NULL,
    entry_step_id uuid NOT NULL,
    steps jsonb NOT NULL,
    entry_condition_text text,
    entry_condition_embedding vector,
    embedding_model text,
    content_hash text,
    tags text[] NOT NULL,
    enabled boolean NOT NULL,
    write_id uuid,
    CONSTRAINT scenario_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX scenario_agent_id_idx ON convostore.scenario (tenant_id, agent_id, name, id) WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.scenario');

CREATE TABLE convostore.template (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    scope text NOT NULL,
    scope_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    agent_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    text text NOT NULL,
    mode text NOT NULL,
    conditions text,
    write_id uuid,
    CONSTRAINT template_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX template_agent_id_idx ON convostore.template (tenant_id, agent_id, name, id) WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.template');

CREATE TABLE convostore.variable (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    agent_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text,
    resolver_tool_id text NOT NULL,
    update_policy text NOT NULL,
    cache_ttl_seconds bigint NOT NULL,
    write_id uuid,
    CONSTRAINT variable_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX variable_agent_id_name_key ON convostore.variable (tenant_id, agent_id, name) WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.variable');

CREATE TABLE convostore.tool_activation (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    agent_id uuid NOT NULL,
    tool_id text COLLATE "C" NOT NULL,
    status text NOT NULL,
    policy_override jsonb,
    enabled_at timestamptz,
    disabled_at timestamptz,
    write_id uuid,
    CONSTRAINT tool_activation_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX tool_activation_agent_id_tool_id_key ON convostore.tool_activation (tenant_id, agent_id, tool_id)
    WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.tool_activation');

CREATE TABLE convostore.migration_plan (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    scenario_id uuid NOT NULL,
    from_version bigint NOT NULL,
    to_version bigint NOT NULL,
    scenario_checksum_v1 text NOT NULL,
    scenario_checksum_v2 text NOT NULL,
    transformation_map jsonb NOT NULL,
    anchor_policies jsonb NOT NULL,
    summary jsonb NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    created_by text,
    approved_at timestamptz,
    approved_by text,
    deployed_at timestamptz,
    expires_at timestamptz,
    revision bigint NOT NULL,
    write_id uuid,
    CONSTRAINT migration_plan_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX migration_plan_scenario_id_from_version_to_version_key
    ON convostore.migration_plan (tenant_id, scenario_id, from_version, to_version)
    WHERE deleted_at IS NULL AND status IN ('pending', 'approved', 'deployed');

CREATE INDEX migration_plan_created_at_idx ON convostore.migration_plan (tenant_id, created_at DESC, id)
    WHERE deleted_at IS NULL;

CREATE INDEX migration_plan_scenario_id_idx ON convostore.migration_plan (tenant_id, scenario_id, created_at DESC, id)
    WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.migration_plan');

CREATE TABLE convostore.scenario_archive (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    agent_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text,
    entry_step_id uuid NOT NULL,
    steps jsonb NOT NULL,
    entry_condition_text text,
    entry_condition_embedding vector,
    embedding_model text,
    content_hash text,
    tags text[] NOT NULL,
    enabled boolean NOT NULL,
    CONSTRAINT scenario_archive_pkey PRIMARY KEY (tenant_id, id, version)
);

CALL convostore.protect('convostore.scenario_archive', changeable => false);

-- Memory

CREATE TABLE convostore.episode (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    customer_profile_id uuid,
    session_id uuid,
    group_id uuid NOT NULL,
    content text NOT NULL,
    content_type text NOT NULL,
    source text NOT NULL,
    language text NOT NULL,
    embedding vector,
    embedding_model text,
    importance double precision NOT NULL,
    entity_ids uuid[] NOT NULL,
    metadata jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    valid_from timestamptz,
    valid_to timestamptz,
    words tsvector NOT NULL,
    dimensions smallint GENERATED ALWAYS AS (vector_dims(embedding)) STORED,
    model_hash bigint GENERATED ALWAYS AS (hashtextextended(embedding_model, 0)) STORED,
    direction halfvec STORAGE MAIN GENERATED ALWAYS AS (l2_normalize(embedding)::halfvec) STORED,
    CONSTRAINT episode_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX episode_agent_id_idx ON convostore.episode (tenant_id, agent_id, recorded_at DESC, id);

CREATE INDEX episode_customer_profile_id_idx
    ON convostore.episode (tenant_id, customer_profile_id, agent_id, recorded_at DESC, id)
    WHERE customer_profile_id IS NOT NULL;

-- Covering indexes for exact vector search; up to 1,280 dimensions a halfvec fits into a B-tree entry of 2,704 bytes.
CREATE INDEX episode_direction_idx
    ON convostore.episode (tenant_id, agent_id, dimensions, customer_profile_id, occurred_at, id)
    INCLUDE (model_hash, content_type, valid_from, valid_to, direction)
    WHERE dimensions <= 1280;

CREATE INDEX episode_long_direction_idx
    ON convostore.episode (tenant_id, agent_id, dimensions, customer_profile_id, occurred_at, id)
    INCLUDE (model_hash, content_type, valid_from, valid_to)
    WHERE dimensions > 1280;

CREATE INDEX episode_session_id_idx ON convostore.episode (tenant_id, session_id, agent_id, recorded_at DESC, id)
    WHERE session_id IS NOT NULL;

CREATE INDEX episode_group_id_idx ON convostore.episode (tenant_id, group_id, agent_id, recorded_at DESC, id);

CALL convostore.protect('convostore.episode');

CREATE FUNCTION convostore.text_scope(tenant uuid, agent uuid, customer uuid) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- A lexeme that to_tsvector never produces: it starts with a space. A hash collision of two scopes costs time, not isolation.
RETURN ' ' || left(encode(sha256(uuid_send(tenant) || uuid_send(agent) || coalesce(uuid_send(customer), '')), 'hex'), 16);

CREATE FUNCTION convostore.words_of(tenant uuid, agent uuid, customer uuid, language text, content text) RETURNS tsvector
LANGUAGE sql STABLE PARALLEL SAFE
RETURN to_tsvector(language::regconfig, content)
    || array_to_tsvector(ARRAY[convostore.text_scope(tenant, agent, NULL), convostore.text_scope(tenant, agent, customer)]);

CREATE FUNCTION convostore.set_episode_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF octet_length(NEW.content) < 100000 THEN
        NEW.words := convostore.words_of(NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id, NEW.language, NEW.content);
        RETURN NEW;
    END IF;
    BEGIN
        NEW.words := convostore.words_of(
            NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id, NEW.language, left(NEW.content, 250000));
    EXCEPTION WHEN program_limit_exceeded THEN
        -- A tsvector is limited to 1 MiB: of text with too many distinct words only the beginning is indexed.
        NEW.words := convostore.words_of(
            NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id, NEW.language, left(NEW.content, 50000));
    END;
    RETURN NEW;
END
$$;

CREATE TRIGGER episode_words
    BEFORE INSERT OR UPDATE OF tenant_id, agent_id, customer_profile_id, content, language ON convostore.episode
    FOR EACH ROW EXECUTE FUNCTION convostore.set_episode_words();

-- Every search scans the pending list, whichever tenant's entries it holds: at most 256 kB, not 4 MB.
CREATE INDEX episode_words_idx ON convostore.episode USING gin (words) WITH (gin_pending_list_limit = 256);

CREATE FUNCTION convostore.matching_episodes(
    tenant uuid, agent uuid, query text, language text, prefix boolean, customer uuid, session uuid, "group" uuid,
    content_type text, since timestamptz, until timestamptz, as_of timestamptz, most bigint
)
RETURNS TABLE (id uuid, rank real)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    -- IS TRUE rules out the B-trees: the GIN index intersects word and scope lexeme at the cost of the rarer one, while an
    -- index on agent_id would read every episode of the agent.
    SELECT e.id, ts_rank(e.words, q.words) AS rank
    FROM (
        -- Prefix match of the last lexeme, unless it is negated (!) or ends a phrase, which is in parentheses.
        SELECT CASE WHEN prefix AND w.words::text ~ '(^| )''[^ ]*$' THEN (w.words::text || ':*')::tsquery ELSE w.words END
        FROM websearch_to_tsquery(language::regconfig, query) AS w (words)
    ) AS q (words)
    CROSS JOIN convostore.episode AS e
    WHERE tenant = nullif(current_setting('convostore.tenant', true), '')::uuid
      AND (e.tenant_id = tenant) IS TRUE AND (e.agent_id = agent) IS TRUE AND numnode(q.words) > 0
      AND e.words @@ (q.words && quote_literal(convostore.text_scope(tenant, agent, customer))::tsquery)
      AND e.language = matching_episodes.language
      AND (customer IS NULL OR e.customer_profile_id = customer) AND (session IS NULL OR e.session_id = session)
      AND ("group" IS NULL OR e.group_id = "group")
      AND (matching_episodes.content_type IS NULL OR e.content_type = matching_episodes.content_type)
      AND (since IS NULL OR e.occurred_at >= since) AND (until IS NULL OR e.occurred_at < until)
      AND (as_of IS NULL OR ((e.valid_from IS NULL OR e.valid_from <= as_of) AND (e.valid_to IS NULL OR e.valid_to > as_of)))
    ORDER BY 2 DESC, 1
    LIMIT most;
END;

CREATE FUNCTION convostore.vector_spaces() RETURNS TABLE (tenant_id uuid, dimensions smallint, episodes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    WITH RECURSIVE tenant (id) AS (
        (SELECT e.tenant_id FROM convostore.episode AS e ORDER BY e.tenant_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT e.tenant_id FROM convostore.episode AS e
            WHERE e.tenant_id > tenant.id ORDER BY e.tenant_id LIMIT 1
        )
        FROM tenant
        WHERE tenant.id IS NOT NULL
    )
    SELECT tenant.id, space.dimensions, space.episodes
    FROM tenant
    CROSS JOIN LATERAL (
        SELECT e.dimensions, count(*) AS episodes
        FROM convostore.episode AS e
        WHERE e.tenant_id = tenant.id AND e.dimensions IS NOT NULL
        GROUP BY e.dimensions
    ) AS space
    WHERE tenant.id IS NOT NULL;
END;

CREATE TABLE convostore.episode_embedding (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    customer_profile_id uuid,
    session_id uuid,
    group_id uuid NOT NULL,
    content_type text NOT NULL,
    embedding vector NOT NULL,
    embedding_model text NOT NULL,
    occurred_at timestamptz NOT NULL,
    valid_from timestamptz,
    valid_to timestamptz,
    dimensions smallint GENERATED ALWAYS AS (vector_dims(embedding)) STORED,
    model_hash bigint GENERATED ALWAYS AS (hashtextextended(embedding_model, 0)) STORED,
    direction halfvec STORAGE MAIN GENERATED ALWAYS AS (l2_normalize(embedding)::halfvec) STORED,
    CONSTRAINT episode_embedding_pkey PRIMARY KEY (tenant_id, id, embedding_model),
    CONSTRAINT episode_embedding_id_fkey FOREIGN KEY (tenant_id, id)
        REFERENCES convostore.episode (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX episode_embedding_direction_idx
    ON convostore.episode_embedding (tenant_id, agent_id, model_hash, dimensions, customer_profile_id);

CALL convostore.protect('convostore.episode_embedding');

CREATE TABLE convostore.entity (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    customer_profile_id uuid,
    group_id uuid NOT NULL,
    name text NOT NULL,
    entity_type text NOT NULL,
    attributes jsonb NOT NULL,
    embedding vector,
    embedding_model text,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    recorded_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    write_id uuid,
    CONSTRAINT entity_pkey PRIMARY KEY (tenant_id, id)
);

CREATE INDEX entity_agent_id_idx ON convostore.entity (tenant_id, agent_id, recorded_at DESC, id);

CREATE INDEX entity_entity_type_idx ON convostore.entity (tenant_id, agent_id, entity_type, recorded_at DESC, id);

CREATE INDEX entity_name_idx ON convostore.entity (tenant_id, agent_id, name, recorded_at DESC, id);

CREATE INDEX entity_customer_profile_id_idx
    ON convostore.entity (tenant_id, customer_profile_id, agent_id, recorded_at DESC, id)
    WHERE customer_profile_id IS NOT NULL;

CREATE INDEX entity_group_id_idx ON convostore.entity (tenant_id, group_id);

CALL convostore.protect('convostore.entity');

CREATE TABLE convostore.relationship (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    agent_id uuid NOT NULL,
    group_id uuid NOT NULL,
    from_entity_id uuid NOT NULL,
    to_entity_id uuid NOT NULL,
    relation_type text NOT NULL,
    attributes jsonb NOT NULL,
    confidence double precision NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    recorded_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    write_id uuid,
    CONSTRAINT relationship_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT relationship_from_entity_id_fkey FOREIGN KEY (tenant_id, from_entity_id)
        REFERENCES convostore.entity (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT relationship_to_entity_id_fkey FOREIGN KEY (tenant_id, to_entity_id)
        REFERENCES convostore.entity (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX relationship_agent_id_idx ON convostore.relationship (tenant_id, agent_id, recorded_at DESC, id);

CREATE INDEX relationship_relation_type_idx
    ON convostore.relationship (tenant_id, agent_id, relation_type, recorded_at DESC, id);

CREATE INDEX relationship_from_entity_id_idx
    ON convostore.relationship (tenant_id, from_entity_id, agent_id, recorded_at DESC, id);

CREATE INDEX relationship_to_entity_id_idx
    ON convostore.relationship (tenant_id, to_entity_id, agent_id, recorded_at DESC, id);

CREATE INDEX relationship_group_id_idx ON convostore.relationship (tenant_id, group_id);

CALL convostore.protect('convostore.relationship');

-- Audit

CREATE FUNCTION convostore.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'audit records cannot be changed' USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Refuses UPDATE, DELETE and TRUNCATE of a table to every role, also with session_replication_role = replica.
CREATE PROCEDURE convostore.make_append_only(relation regclass) LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION convostore.refuse_change()', relation);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER is_append_only', relation);
END
$$;

CREATE TABLE convostore.audit_record (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    record_id uuid NOT NULL,
    session_id uuid,
    turn_number bigint,
    sequence bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    version smallint NOT NULL,
    previous_hash bytea NOT NULL,
    digest bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_record_pkey PRIMARY KEY (tenant_id, kind, record_id)
);

CREATE UNIQUE INDEX audit_record_sequence_key ON convostore.audit_record (tenant_id, session_id, sequence) NULLS NOT DISTINCT;

CREATE UNIQUE INDEX turn_session_id_turn_number_key ON convostore.audit_record (tenant_id, session_id, turn_number)
    WHERE turn_number IS NOT NULL;

CALL convostore.protect('convostore.audit_record', appended => true);

CREATE TABLE convostore.audit_head (
    tenant_id uuid NOT NULL,
    chain text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_head_pkey PRIMARY KEY (tenant_id, chain),
    CONSTRAINT audit_head_chain_check CHECK (chain = '' OR chain = chain::uuid::text)
) WITH (fillfactor = 70);

CALL convostore.protect('convostore.audit_head', appended => true);

GRANT UPDATE ON convostore.audit_head TO convostore_search;

CREATE TABLE convostore.audit_body (
    tenant_id uuid NOT NULL,
    kind text NOT NULL,
    record_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    session_id uuid,
    turn_id uuid,
    customer_profile_id uuid,
    event_type text,
    "timestamp" timestamptz NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT audit_body_pkey PRIMARY KEY (tenant_id, kind, record_id, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Partial, one per kind: without statistics of a new partition the planner would prefer an index on (tenant_id, kind, …) to
-- the primary key for lookups by key.
CREATE INDEX audit_body_turn_idx ON convostore.audit_body (tenant_id, "timestamp" DESC, record_id) WHERE kind = 'turn';

CREATE INDEX audit_body_event_idx ON convostore.audit_body (tenant_id, "timestamp" DESC, record_id) WHERE kind = 'event';

CREATE INDEX audit_body_event_type_idx ON convostore.audit_body (tenant_id, event_type, "timestamp" DESC, record_id)
    WHERE kind = 'event';

CREATE INDEX audit_body_session_id_idx ON convostore.audit_body (tenant_id, session_id, "timestamp" DESC, record_id)
    WHERE kind = 'event' AND session_id IS NOT NULL;

CREATE INDEX audit_body_turn_id_idx ON convostore.audit_body (tenant_id, turn_id, "timestamp" DESC, record_id)
    WHERE kind = 'event' AND turn_id IS NOT NULL;

CREATE INDEX audit_body_customer_profile_id_idx
    ON convostore.audit_body (tenant_id, customer_profile_id, kind, "timestamp" DESC, record_id)
    WHERE customer_profile_id IS NOT NULL;

CALL convostore.protect('convostore.audit_body', appended => true);

CREATE TABLE convostore.audit_retention (
    month date NOT NULL,
    dropped_at timestamptz NOT NULL,
    CONSTRAINT audit_retention_pkey PRIMARY KEY (month)
);

CALL convostore.make_append_only('convostore.audit_record');

CALL convostore.make_append_only('convostore.audit_body');

CALL convostore.make_append_only('convostore.audit_retention');

CREATE FUNCTION convostore.audit_hash(
    version smallint, tenant uuid, kind text, record_id uuid, session_id uuid, turn_number bigint, sequence bigint,
    recorded_at timestamptz, previous_hash bytea, digest bytea
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(convert_to(concat_ws(E'\n', 'convostore audit ' || version, tenant, kind, record_id, coalesce(session_id::text, ''),
    coalesce(turn_number::text, ''), sequence, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    encode(previous_hash, 'hex'), encode(digest, 'hex')), 'UTF8'));

-- Whether a month takes no partition: it has one, or its bodies were dropped.
CREATE FUNCTION convostore.audit_month_is_made(start timestamp) RETURNS boolean LANGUAGE sql SET search_path = pg_catalog
RETURN EXISTS (
    SELECT FROM pg_class AS c
    WHERE c.oid = to_regclass('convostore.audit_body_' || to_char(start, 'YYYY_MM')) AND c.relispartition
) OR EXISTS (SELECT FROM convostore.audit_retention AS t WHERE t.month = start::date);

-- Called by any save, so it is bounded: 13 months at once, from 1900 to a year from now.
CREATE FUNCTION convostore.create_audit_months(moment timestamptz, ahead integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    start timestamp;
    name text;
    created bigint := 0;
BEGIN
    IF (moment BETWEEN '1900-01-01 00:00+00' AND now() + interval '1 year' AND ahead BETWEEN 0 AND 12) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'months are created from 1900 to a year from now, 13 at once';
    END IF;
    FOR start IN
        SELECT date_trunc('month', moment AT TIME ZONE 'UTC') + make_interval(months => n)
        FROM generate_series(0, ahead) AS n
    LOOP
        name := 'audit_body_' || to_char(start, 'YYYY_MM');
        -- Does not conflict with inserts. Without it a partition that another call created would be visible before the
        -- caches of this session know of it, which they do once that call has released its locks.
        LOCK TABLE convostore.audit_body IN SHARE UPDATE EXCLUSIVE MODE;
        CONTINUE WHEN convostore.audit_month_is_made(start);
        EXECUTE format('CREATE TABLE IF NOT EXISTS convostore.%I (LIKE convostore.audit_body)', name);
        EXECUTE format('ALTER TABLE convostore.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        CALL convostore.make_append_only(format('convostore.%I', name)::regclass);
        EXECUTE format('ALTER TABLE convostore.audit_body ATTACH PARTITION convostore.%I FOR VALUES FROM (%L) TO (%L)',
            name, start AT TIME ZONE 'UTC', (start + interval '1 month') AT TIME ZONE 'UTC');
        created := created + 1;
    END LOOP;
    RETURN created;
END
$$;

SELECT convostore.create_audit_months(now(), 3);

CREATE FUNCTION convostore.drop_audit_months(before timestamptz) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET lock_timeout = '500ms' AS $$
DECLARE
    name text;
    start date;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'convostore.audit_body'::regclass ORDER BY c.relname
    LOOP
        start := to_date(right(name, 7), 'YYYY_MM');
        CONTINUE WHEN start + interval '1 month' > least(before, now()) AT TIME ZONE 'UTC';
        INSERT INTO convostore.audit_retention (month, dropped_at) VALUES (start, now()) ON CONFLICT DO NOTHING;
        EXECUTE format('DROP TABLE convostore.%I', name);
        RETURN NEXT start;
    END LOOP;
END
$$;

-- Whether a body's month is noted as dropped. For a body that is `missing` the note must be true: the month was over then,
-- and it has no table, attached or not.
CREATE FUNCTION convostore.audit_body_dropped(recorded_at timestamptz, missing boolean) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM convostore.audit_retention AS t
    WHERE t.month = date_trunc('month', recorded_at AT TIME ZONE 'UTC')::date AND (
        NOT missing
        OR t.dropped_at AT TIME ZONE 'UTC' >= t.month + interval '1 month' AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_class AS c
            WHERE c.relnamespace = 'convostore'::regnamespace AND c.relname = 'audit_body_' || to_char(t.month, 'YYYY_MM'))));

-- Locks the head of a chain and returns it. It is derived data: one that is behind its records, or contradicts the last of
-- them, is restored from them, for otherwise nothing could be appended any more. One that is ahead of its records stays, so
-- that those that are missing show.
CREATE FUNCTION convostore.lock_audit_head(tenant uuid, of_chain text) RETURNS convostore.audit_head LANGUAGE plpgsql AS $$
DECLARE
    head convostore.audit_head;
    last record;
BEGIN
    SELECT h.* INTO head FROM convostore.audit_head AS h WHERE h.tenant_id = tenant AND h.chain = of_chain FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO convostore.audit_head AS h (tenant_id, chain, sequence, hash)
        VALUES (tenant, of_chain, 0, decode(repeat('00', 32), 'hex'))
        ON CONFLICT (tenant_id, chain) DO UPDATE SET chain = excluded.chain
        RETURNING h.* INTO head;
    END IF;
    IF of_chain = '' THEN
        SELECT r.sequence, r.hash INTO last FROM convostore.audit_record AS r
        WHERE r.tenant_id = tenant AND r.session_id IS NULL ORDER BY r.sequence DESC LIMIT 1;
    ELSE
        SELECT r.sequence, r.hash INTO last FROM convostore.audit_record AS r
        WHERE r.tenant_id = tenant AND r.session_id = of_chain::uuid ORDER BY r.sequence DESC LIMIT 1;
    END IF;
    IF last.sequence > head.sequence OR (last.sequence = head.sequence AND last.hash <> head.hash) THEN
        RAISE WARNING 'the head of an audit chain contradicted its records and was restored from them'
            USING DETAIL = format('tenant %s, chain %s, sequence %s instead of %s', tenant, of_chain, head.sequence, last.sequence);
        UPDATE convostore.audit_head AS h SET sequence = last.sequence, hash = last.hash
        WHERE h.tenant_id = tenant AND h.chain = of_chain
        RETURNING h.* INTO head;
    END IF;
    RETURN head;
END
$$;

-- Appends items to their chains: the only way to write records, bodies and heads.
CREATE FUNCTION convostore.record_audit(
    of_tenant uuid, item_kind text, moment timestamptz, record_ids uuid[], session_ids uuid[], turn_numbers bigint[],
    turn_ids uuid[], customer_profile_ids uuid[], event_types text[], times timestamptz[], contents bytea[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    item record;
    head convostore.audit_head;
    heads convostore.audit_head[] := '{}';
    link bytea;
    links bytea[] := '{}';
    previous_links bytea[] := '{}';
    digests bytea[] := '{}';
    sequences bigint[] := '{}';
    places bigint[] := '{}';
BEGIN
    IF of_tenant IS DISTINCT FROM nullif(current_setting('convostore.tenant', true), '')::uuid THEN
        RAISE insufficient_privilege USING MESSAGE = 'row-level security: the tenant is not the one that is bound';
    END IF;
    IF (item_kind IN ('turn', 'event')) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'only turns and events are recorded';
    END IF;
    -- Heads are locked in the order of their chains, so that concurrent calls cannot deadlock.
    FOR item IN
        SELECT DISTINCT coalesce(s.id::text, '') COLLATE "C" AS chain FROM unnest(session_ids) AS s (id) ORDER BY 1
    LOOP
        heads := heads || convostore.lock_audit_head(of_tenant, item.chain);
    END LOOP;
    -- Records are read under the locks, so that no concurrent call appends to these chains.
    FOR item IN
        SELECT given.*, coalesce(given.stored, first_value(given.digest) OVER same) AS expected,
               given.stored IS NULL AND row_number() OVER same = 1 AS is_new
        FROM (
            SELECT g.*, sha256(g.content) AS digest,
                   dense_rank() OVER (ORDER BY coalesce(g.session_id::text, '') COLLATE "C") AS chain_number,
                   (SELECT r.digest FROM convostore.audit_record AS r
                    WHERE r.tenant_id = of_tenant AND r.kind = item_kind AND r.record_id = g.record_id) AS stored
            FROM unnest(record_ids, session_ids, turn_numbers, contents) WITH ORDINALITY
                AS g (record_id, session_id, turn_number, content, place)
        ) AS given
        WINDOW same AS (PARTITION BY given.record_id ORDER BY given.chain_number, given.place)
        ORDER BY given.chain_number, given.place
    LOOP
        IF item.expected <> item.digest THEN
            RAISE unique_violation USING CONSTRAINT = 'audit_record_pkey', MESSAGE = 'the id is taken by other content';
        END IF;
        CONTINUE WHEN NOT item.is_new;
        head := heads[item.chain_number];
        link := convostore.audit_hash(1::smallint, of_tenant, item_kind, item.record_id, item.session_id, item.turn_number,
            head.sequence + 1, moment, head.hash, item.digest);
        places := places || item.place;
        sequences := sequences || head.sequence + 1;
        previous_links := previous_links || head.hash;
        digests := digests || item.digest;
        links := links || link;
        head.sequence := head.sequence + 1;
        head.hash := link;
        heads[item.chain_number] := head;
    END LOOP;
    IF places = '{}' THEN
        RETURN 0;
    END IF;
    INSERT INTO convostore.audit_record (tenant_id, kind, record_id, session_id, turn_number, sequence, recorded_at,
        version, previous_hash, digest, hash)
    SELECT of_tenant, item_kind, g.record_id, g.session_id, g.turn_number, n.sequence, moment, 1, n.previous_link, n.digest, n.link
    FROM unnest(places, sequences, previous_links, digests, links) AS n (place, sequence, previous_link, digest, link)
    JOIN unnest(record_ids, session_ids, turn_numbers) WITH ORDINALITY AS g (record_id, session_id, turn_number, place)
        ON g.place = n.place;
    INSERT INTO convostore.audit_body (tenant_id, kind, record_id, recorded_at, session_id, turn_id,
        customer_profile_id, event_type, "timestamp", content)
    SELECT of_tenant, item_kind, g.record_id, moment, g.session_id, g.turn_id, g.customer_profile_id, g.event_type,
        g.at, g.content
    FROM unnest(places) AS n (place)
    JOIN unnest(record_ids, session_ids, turn_ids, customer_profile_ids, event_types, times, contents) WITH ORDINALITY
        AS g (record_id, session_id, turn_id, customer_profile_id, event_type, at, content, place) ON g.place = n.place;
    -- A loop: without statistics the planner might join all heads of the of_tenant.
    FOREACH head IN ARRAY heads LOOP
        UPDATE convostore.audit_head AS h SET sequence = head.sequence, hash = head.hash
        WHERE h.tenant_id = of_tenant AND h.chain = head.chain AND h.sequence < head.sequence;
    END LOOP;
    RETURN cardinality(places);
END
$$;

-- Sessions

CREATE TABLE convostore.session (
    tenant_id uuid NOT NULL,
    session_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    channel text NOT NULL,
    user_channel_id text NOT NULL,
    customer_profile_id uuid,
    config_version bigint NOT NULL,
    active_scenario_id uuid,
    active_step_id uuid,
    active_scenario_version bigint,
    step_history jsonb NOT NULL,
    relocalization_count bigint NOT NULL,
    rule_fires jsonb NOT NULL,
    rule_last_fire_turn jsonb NOT NULL,
    variables jsonb NOT NULL,
    variable_updated_at jsonb NOT NULL,
    turn_count bigint NOT NULL,
    status text NOT NULL,
    pending_migration jsonb,
    scenario_checksum text,
    created_at timestamptz NOT NULL,
    last_activity_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    write_id uuid,
    fence bigint,
    lock_owner uuid,
    locked_until timestamptz,
    -- Generated, because an index on the expression is not usable below row-level security: `->>` is not leakproof.
    step_content_hash text GENERATED ALWAYS AS (step_history -> -1 ->> 'step_content_hash') STORED,
    CONSTRAINT session_pkey PRIMARY KEY (tenant_id, session_id)
);

-- For sweeps, across tenants. An expression that no tenant's statement compares, so that none is planned with this index.
CREATE INDEX session_last_activity_at_idx ON convostore.session ((last_activity_at AT TIME ZONE 'UTC'));

CREATE UNIQUE INDEX session_session_id_key ON convostore.session (session_id);

CREATE INDEX session_agent_id_idx ON convostore.session (tenant_id, agent_id, last_activity_at DESC, session_id);

CREATE INDEX session_customer_profile_id_idx
    ON convostore.session (tenant_id, customer_profile_id, last_activity_at DESC, session_id)
    WHERE customer_profile_id IS NOT NULL;

CREATE INDEX session_channel_idx
    ON convostore.session (tenant_id, channel, user_channel_id, (status = 'closed'), last_activity_at DESC, session_id);

CREATE INDEX session_step_idx
    ON convostore.session (
        tenant_id, active_scenario_id, active_scenario_version, step_content_hash, last_activity_at DESC, session_id
    )
    WHERE status = 'active';

CALL convostore.protect('convostore.session');

-- The session that was created last for a channel identity with an agent: what concurrent creations compare and set.
CREATE TABLE convostore.session_identity (
    tenant_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    channel text NOT NULL,
    user_channel_id text NOT NULL,
    session_id uuid NOT NULL,
    CONSTRAINT session_identity_pkey PRIMARY KEY (tenant_id, agent_id, channel, user_channel_id),
    -- Deleting a session also deletes this trace of its user. Its check sees the session, which the same statement inserts.
    CONSTRAINT session_identity_session_id_fkey FOREIGN KEY (tenant_id, session_id)
        REFERENCES convostore.session (tenant_id, session_id) ON DELETE CASCADE
);

CREATE INDEX session_identity_session_id_idx ON convostore.session_identity (tenant_id, session_id);

CALL convostore.protect('convostore.session_identity');

CREATE TABLE convostore.copy_generation (
    tenant_id uuid NOT NULL,
    generation bigint NOT NULL,
    CONSTRAINT copy_generation_pkey PRIMARY KEY (tenant_id)
);

CALL convostore.protect('convostore.copy_generation');

CREATE FUNCTION convostore.session_tenant(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
RETURN (SELECT s.tenant_id FROM convostore.session AS s WHERE s.session_id = wanted);

-- Of all tenants, for the sweeper that runs as the application: the ids of the sessions that are due, at most 1,000 at a time.
CREATE FUNCTION convostore.old_sessions(before timestamptz, most bigint) RETURNS TABLE (tenant_id uuid, session_ids uuid[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT old.tenant_id, array_agg(old.session_id)
    FROM (
        SELECT s.tenant_id, s.session_id FROM convostore.session AS s
        WHERE s.last_activity_at AT TIME ZONE 'UTC' < before AT TIME ZONE 'UTC'
        ORDER BY s.last_activity_at AT TIME ZONE 'UTC' LIMIT least(most, 1000)
    ) AS old
    GROUP BY old.tenant_id;
END;

-- Profiles

CREATE TABLE convostore.profile (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    customer_id uuid NOT NULL,
    consents jsonb NOT NULL,
    verification_level text NOT NULL,
    merged_into uuid,
    last_interaction_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    revision bigint NOT NULL,
    write_id uuid,
    CONSTRAINT profile_pkey PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX profile_customer_id_key ON convostore.profile (tenant_id, customer_id) 
    WHERE deleted_at IS NULL OR merged_into IS NOT NULL;

CREATE INDEX profile_merged_into_idx ON convostore.profile (tenant_id, merged_into) WHERE merged_into IS NOT NULL;

CREATE INDEX profile_created_at_idx ON convostore.profile (tenant_id, created_at DESC, id) WHERE deleted_at IS NULL;

CALL convostore.protect('convostore.profile');

CREATE TABLE convostore.channel_identity (
    tenant_id uuid NOT NULL,
    profile_id uuid NOT NULL,
    channel text NOT NULL,
    channel_user_id text NOT NULL,
    verified boolean NOT NULL,
    verified_at timestamptz,
    "primary" boolean NOT NULL,
    linked_at timestamptz NOT NULL,
    position integer NOT NULL,
    living boolean NOT NULL,
    CONSTRAINT channel_identity_pkey PRIMARY KEY (tenant_id, profile_id, channel, channel_user_id),
    CONSTRAINT channel_identity_profile_id_fkey FOREIGN KEY (tenant_id, profile_id)
        REFERENCES convostore.profile (tenant_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX channel_identity_channel_key ON convostore.channel_identity (tenant_id, channel, channel_user_id) WHERE living;

CALL convostore.protect('convostore.channel_identity');

CREATE TABLE convostore.profile_field (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    profile_id uuid NOT NULL,
    name text NOT NULL,
    value jsonb,
    value_type text NOT NULL,
    source text NOT NULL,
    source_session_id uuid,
    source_scenario_id uuid,
    source_step_id uuid,
    source_item_id uuid,
    source_metadata jsonb NOT NULL,
    status text NOT NULL,
    superseded_by_id uuid,
    superseded_at timestamptz,
    verified boolean NOT NULL,
    verification_method text,
    verified_at timestamptz,
    verified_by text,
    confidence double precision NOT NULL,
    requires_confirmation boolean NOT NULL,
    collected_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz,
    CONSTRAINT profile_field_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT profile_field_profile_id_fkey FOREIGN KEY (tenant_id, profile_id)
        REFERENCES convostore.profile (tenant_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX profile_field_name_key ON convostore.profile_field (tenant_id, profile_id, name) WHERE status = 'active';

CREATE INDEX profile_field_profile_id_idx ON convostore.profile_field (tenant_id, profile_id);

CREATE INDEX profile_field_value_idx
    ON convostore.profile_field (tenant_id, name, jsonb_hash_extended(coalesce(value, 'null'), 0)) WHERE status = 'active';

CREATE INDEX profile_field_expires_at_idx ON convostore.profile_field (tenant_id, expires_at) WHERE status = 'active';

CALL convostore.protect('convostore.profile_field');

CREATE TABLE convostore.profile_asset (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    profile_id uuid NOT NULL,
    position integer NOT NULL,
    name text NOT NULL,
    asset_type text NOT NULL,
    storage_provider text NOT NULL,
    storage_path text NOT NULL,
    mime_type text NOT NULL,
    size_bytes bigint NOT NULL,
    checksum text NOT NULL,
    uploaded_at timestamptz NOT NULL,
    uploaded_in_session_id uuid,
    uploaded_in_scenario_id uuid,
    source_item_id uuid,
    derived_from_tool text,
    status text NOT NULL,
    superseded_by_id uuid,
    superseded_at timestamptz,
    verified boolean NOT NULL,
    verification_result jsonb,
    retention_policy text NOT NULL,
    expires_at timestamptz,
    analysis_field_ids uuid[] NOT NULL,
    CONSTRAINT profile_asset_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT profile_asset_profile_id_fkey FOREIGN KEY (tenant_id, profile_id)
        REFERENCES convostore.profile (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX profile_asset_profile_id_idx ON convostore.profile_asset (tenant_id, profile_id);

CALL convostore.protect('convostore.profile_asset');

CREATE TABLE convostore.profile_merge (
    tenant_id uuid NOT NULL,
    source_id uuid NOT NULL,
    target_id uuid NOT NULL,
    revision bigint NOT NULL,
    document json NOT NULL,
    CONSTRAINT profile_merge_pkey PRIMARY KEY (tenant_id, source_id),
    CONSTRAINT profile_merge_source_id_fkey FOREIGN KEY (tenant_id, source_id)
        REFERENCES convostore.profile (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT profile_merge_target_id_fkey FOREIGN KEY (tenant_id, target_id)
        REFERENCES convostore.profile (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX profile_merge_target_id_idx ON convostore.profile_merge (tenant_id, target_id, revision DESC);

CALL convostore.protect('convostore.profile_merge');

-- Raises from ON CONFLICT DO UPDATE, which sees rows newer than the statement's snapshot; WHERE could only skip them.
CREATE FUNCTION convostore.refuse(condition text, key text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = condition, CONSTRAINT = key, MESSAGE = 'another call was first';
END
$$;

-- A profile, the whole of it, and those of its past items that have one of these ids; NULL for all.
CREATE FUNCTION convostore.profile_document(p convostore.profile, past uuid[]) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE
RETURN json_build_object(
    'profile', json_build_object(
        'id', p.id, 'tenant_id', p.tenant_id, 'customer_id', p.customer_id, 'consents', p.consents,
        'verification_level', p.verification_level, 'merged_into', p.merged_into,
        'last_interaction_at', p.last_interaction_at, 'created_at', p.created_at, 'updated_at', p.updated_at,
        'deleted_at', p.deleted_at, 'revision', p.revision,
        'channel_identities', (
            SELECT coalesce(json_agg(to_jsonb(c) - '{tenant_id,profile_id,position,living}'::text[] ORDER BY c.position), '[]')
            FROM convostore.channel_identity AS c
            WHERE c.tenant_id = p.tenant_id AND c.profile_id = p.id),
        'fields', (
            SELECT coalesce(json_object_agg(f.name, to_jsonb(f) - '{tenant_id,profile_id}'::text[]), '{}')
            FROM convostore.profile_field AS f
            WHERE f.tenant_id = p.tenant_id AND f.profile_id = p.id AND f.status = 'active'),
        'assets', (
            SELECT coalesce(json_agg(to_jsonb(a) - '{tenant_id,profile_id,position}'::text[] ORDER BY a.position, a.id), '[]')
            FROM convostore.profile_asset AS a
            WHERE a.tenant_id = p.tenant_id AND a.profile_id = p.id AND a.status <> 'superseded')),
    'past_fields', (
        SELECT coalesce(json_agg(to_jsonb(f) - '{tenant_id,profile_id}'::text[]), '[]')
        FROM convostore.profile_field AS f
        WHERE f.tenant_id = p.tenant_id AND f.profile_id = p.id AND f.status <> 'active'
          AND (past IS NULL OR f.id = ANY (past))),
    'past_assets', (
        SELECT coalesce(json_agg(to_jsonb(a) - '{tenant_id,profile_id,position}'::text[] ORDER BY a.id), '[]')
        FROM convostore.profile_asset AS a
        WHERE a.tenant_id = p.tenant_id AND a.profile_id = p.id AND a.status = 'superseded'
          AND (past IS NULL OR a.id = ANY (past))));

-- Rights

REVOKE EXECUTE ON PROCEDURE convostore.protect, convostore.make_append_only FROM PUBLIC;

GRANT USAGE ON SCHEMA convostore TO convostore_app, convostore_maintenance, convostore_search;

GRANT SELECT ON convostore.alembic_version, convostore.audit_retention TO convostore_app, convostore_maintenance;

GRANT SELECT ON convostore.session, convostore.episode TO convostore_search;

REVOKE EXECUTE ON FUNCTION convostore.bind, convostore.in_time, convostore.session_tenant, convostore.matching_episodes,
    convostore.old_sessions, convostore.vector_spaces, convostore.record_audit, convostore.lock_audit_head
    FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.bind, convostore.in_time, convostore.session_tenant, convostore.matching_episodes,
    convostore.old_sessions, convostore.record_audit
    TO convostore_app, convostore_maintenance;

GRANT EXECUTE ON FUNCTION convostore.lock_audit_head TO convostore_search;

GRANT EXECUTE ON FUNCTION convostore.vector_spaces() TO convostore_maintenance;

REVOKE EXECUTE ON FUNCTION convostore.create_audit_months(timestamptz, integer), convostore.drop_audit_months(timestamptz)
    FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.create_audit_months(timestamptz, integer) TO convostore_app, convostore_maintenance;

GRANT EXECUTE ON FUNCTION convostore.drop_audit_months(timestamptz) TO convostore_maintenance;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.session_tenant(uuid) OWNER TO convostore_search;

ALTER FUNCTION convostore.old_sessions(timestamptz, bigint) OWNER TO convostore_search;

ALTER FUNCTION convostore.vector_spaces OWNER TO convostore_search;

ALTER FUNCTION convostore.matching_episodes OWNER TO convostore_search;

ALTER FUNCTION convostore.record_audit OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DO $$
DECLARE
    name text;
BEGIN
    -- CASCADE also drops partitions, and functions with a SQL body that depends on the table.
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'convostore' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DROP TABLE IF EXISTS convostore.%I CASCADE', name);
    END LOOP;
    FOR name IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'convostore'::regnamespace LOOP
        EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', name);
    END LOOP;
END
$$;

REVOKE SELECT ON convostore.alembic_version FROM convostore_app, convostore_maintenance;

REVOKE USAGE ON SCHEMA convostore FROM convostore_app, convostore_maintenance, convostore_search;
