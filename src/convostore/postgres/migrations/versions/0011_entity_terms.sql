-- An agent's entities are found by their names without reading all of them.
-- phase: expand
-- compatible: 0001

-- up

-- A term that no word is: it begins with a space. A hash collision of two names costs time, because what is found is compared.
CREATE OR REPLACE FUNCTION convostore.name_term(key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ' =' || hashtextextended(key, 0);

-- What an entity is looked for by: its agent, its whole name, and the words of this.
CREATE OR REPLACE FUNCTION convostore.entity_terms(tenant uuid, agent uuid, found_by text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_to_tsvector(ARRAY[
    convostore.text_scope(tenant, agent, NULL), convostore.name_term(split_part(found_by, ' ', 1))]
    || array_remove((string_to_array(found_by, ' '))[2:], ''));

-- Takes about twenty seconds per million entities, in which nobody can add any; made CONCURRENTLY beforehand, none.
CREATE INDEX IF NOT EXISTS entity_terms_idx ON convostore.entity
    USING gin (convostore.entity_terms(tenant_id, agent_id, coalesce(words, convostore.name_words(name))))
    WITH (gin_pending_list_limit = 256);

-- An agent's entities of the same name, or with a word that begins with one of these.
CREATE FUNCTION convostore.named_entities(tenant uuid, agent uuid, key text, words text[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog SET enable_seqscan = off
BEGIN ATOMIC
    -- IS TRUE rules out the B-trees: see `matching_episodes`.
    SELECT e.id
    FROM (
        SELECT quote_literal(convostore.text_scope(tenant, agent, NULL))::tsquery
            && string_agg(t.term, ' | ')::tsquery AS terms
        FROM (
            SELECT quote_literal(convostore.name_term(key)) AS term
            UNION ALL
            SELECT '''' || replace(replace(w.word, '\', '\\'), '''', '''''') || ''':*'
            FROM unnest(named_entities.words) AS w (word)
        ) AS t
    ) AS q
    CROSS JOIN convostore.entity AS e
    WHERE tenant = nullif(current_setting('convostore.tenant', true), '')::uuid
      AND (e.tenant_id = tenant) IS TRUE AND (e.agent_id = agent) IS TRUE
      AND convostore.entity_terms(e.tenant_id, e.agent_id, coalesce(e.words, convostore.name_words(e.name))) @@ q.terms;
END;

REVOKE EXECUTE ON FUNCTION convostore.named_entities FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.named_entities TO convostore_app, convostore_maintenance, convostore_reader;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.named_entities OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.named_entities;

DROP INDEX convostore.entity_terms_idx;

DROP FUNCTION convostore.entity_terms;

DROP FUNCTION convostore.name_term;
