-- Episodes are found by any of a query's words, as these look, ranked by BM25 in the scope that is asked.
-- phase: expand
-- compatible: 0001

-- up

ALTER TABLE convostore.episode ADD COLUMN search_text text;

-- What a text is found by comes from the client as `search_text`, which is not kept. Without it, as from the release before,
-- it is the text in lower case.
CREATE OR REPLACE FUNCTION convostore.set_episode_words() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    found text := coalesce(NEW.search_text, lower(NEW.content COLLATE "C"));
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.search_text IS NULL AND NEW.content = OLD.content AND NEW.language = OLD.language THEN
        -- Another customer's from now on: only the scopes differ.
        NEW.words := ts_delete(OLD.words, ARRAY[
                convostore.text_scope(OLD.tenant_id, OLD.agent_id, NULL),
                convostore.text_scope(OLD.tenant_id, OLD.agent_id, OLD.customer_profile_id)])
            || array_to_tsvector(ARRAY[
                convostore.text_scope(NEW.tenant_id, NEW.agent_id, NULL),
                convostore.text_scope(NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id)]);
        RETURN NEW;
    END IF;
    NEW.search_text := NULL;
    IF octet_length(found) < 100000 THEN
        NEW.words := convostore.words_of(NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id, NEW.language, found);
        RETURN NEW;
    END IF;
    BEGIN
        NEW.words := convostore.words_of(
            NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id, NEW.language, left(found, 1000000));
    EXCEPTION WHEN program_limit_exceeded THEN
        -- A tsvector is limited to 1 MiB: of text with too many distinct words only the beginning is indexed.
        NEW.words := convostore.words_of(
            NEW.tenant_id, NEW.agent_id, NEW.customer_profile_id, NEW.language, left(found, 50000));
    END;
    RETURN NEW;
END
$$;

DROP TRIGGER episode_words ON convostore.episode;

CREATE TRIGGER episode_words
    BEFORE INSERT OR UPDATE OF tenant_id, agent_id, customer_profile_id, content, language, search_text
    ON convostore.episode
    FOR EACH ROW EXECUTE FUNCTION convostore.set_episode_words();

-- BM25 with the statistics of one scope: the episodes of an agent, customer, session and group. Below 1,000 episodes (20,000
-- of a session or group) everything is counted and scored. Above, the latest ones say how frequent each term is, and the
-- candidates are found by the rarest terms, by pairs of the others, and by all of them.
CREATE FUNCTION convostore.scored_episodes(
    tenant uuid, agent uuid, query text, terms text[], every boolean, language text, customer uuid, session uuid,
    "group" uuid, content_type text, since timestamptz, until timestamptz, as_of timestamptz, most bigint
)
RETURNS TABLE (id uuid, score double precision)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog SET enable_seqscan = off SET client_min_messages = warning AS $$
#variable_conflict use_variable
DECLARE
    columns CONSTANT text := 'e.id, e.language, e.words, length(e.words) - 1 - (e.customer_profile_id IS NOT NULL)::integer AS length';
    latest CONSTANT integer := CASE WHEN session IS NULL AND "group" IS NULL THEN 1000 ELSE 20000 END;
    scope text := 'e.agent_id = $2';
    filters text := 'true';
    sample text;
    source text;
    languages text[] := ARRAY[language];
    matches text;
    marks text[];
    found bigint[];
    expected double precision[];
    frequencies text[];
    number bigint;
    lengths double precision;
    plan json;
    pieces text;
BEGIN
    IF tenant IS DISTINCT FROM nullif(current_setting('convostore.tenant', true), '')::uuid OR query = '' THEN
        RETURN;
    END IF;
    scope := scope
        || CASE WHEN customer IS NULL THEN '' ELSE ' AND e.customer_profile_id = $3' END
        || CASE WHEN session IS NULL THEN '' ELSE ' AND e.session_id = $4' END
        || CASE WHEN "group" IS NULL THEN '' ELSE ' AND e.group_id = $5' END
        || CASE WHEN language IS NULL THEN '' ELSE ' AND e.language = $6' END;
    filters := filters
        || CASE WHEN content_type IS NULL THEN '' ELSE ' AND e.content_type = $7' END
        || CASE WHEN since IS NULL THEN '' ELSE ' AND e.occurred_at >= $8' END
        || CASE WHEN until IS NULL THEN '' ELSE ' AND e.occurred_at < $9' END
        || CASE WHEN as_of IS NULL THEN '' ELSE ' AND coalesce(e.valid_from <= $10, true) AND coalesce(e.valid_to > $10, true)' END;
    sample := format(
        'SELECT %s, %s AS fits FROM convostore.episode AS e WHERE e.tenant_id = $1 AND %s '
        'ORDER BY e.recorded_at DESC, e.id LIMIT %s',
        columns, filters, scope, latest);
    IF language IS NULL THEN
        EXECUTE format('SELECT array_agg(DISTINCT e.language) FROM (%s) AS e', sample) INTO languages
            USING tenant, agent, customer, session, "group", language, content_type, since, until, as_of;
        IF languages IS NULL THEN
            RETURN;
        END IF;
    END IF;
    -- What every language makes of the query and of each term, as conditions on `e`.
    SELECT array_agg(t.mark ORDER BY t.place) INTO marks
    FROM (
        SELECT t.place, 'CASE e.language ' || string_agg(
            format('WHEN %L THEN e.words @@ %L::tsquery', l.l, q.q), ' ') || ' END' AS mark
        FROM unnest(array_prepend(query, terms)) WITH ORDINALITY AS t (term, place)
        CROSS JOIN unnest(languages) AS l (l) CROSS JOIN LATERAL to_tsquery(l.l::regconfig, t.term) AS q (q)
        GROUP BY t.place
    ) AS t;
    matches := marks[1];
    marks := marks[2:];
    EXECUTE format(
        'SELECT count(*), coalesce(sum(e.length), 0), ARRAY[%s]::bigint[] FROM (%s) AS e',
        (SELECT string_agg(format('count(*) FILTER (WHERE %s)', m.mark), ', ' ORDER BY m.place)
         FROM unnest(marks) WITH ORDINALITY AS m (mark, place)), sample)
    INTO number, lengths, found
    USING tenant, agent, customer, session, "group", language, content_type, since, until, as_of;
    lengths := lengths / greatest(number, 1);
    IF number < latest OR latest > 1000 THEN
        source := format('SELECT * FROM (%s) AS e WHERE e.fits', sample);
        frequencies := found::text[];
    ELSE
        EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM convostore.episode AS e WHERE e.tenant_id = $1 AND %s', scope)
            INTO plan USING tenant, agent, customer, session, "group", language, content_type, since, until, as_of;
        expected := ARRAY(
            SELECT f.f::double precision / number * greatest(number, (plan->0->'Plan'->>'Plan Rows')::double precision)
            FROM unnest(found) WITH ORDINALITY AS f (f, place) ORDER BY f.place);
        number := greatest(number, (plan->0->'Plan'->>'Plan Rows')::bigint);
        WITH term AS (
            SELECT t.term, t.place, t.expected, sum(t.expected) OVER (ORDER BY t.expected, t.place) <= 1000 AS rare
            FROM unnest(terms, expected) WITH ORDINALITY AS t (term, expected, place)
        ), other AS (
            SELECT t.*, row_number() OVER (ORDER BY t.expected, t.place) AS nth FROM term AS t WHERE NOT t.rare
        ), pair AS (
            SELECT format('(%s) & (%s)', a.term, b.term) AS piece,
                sum(a.expected * b.expected / number) OVER (ORDER BY a.expected * b.expected, a.place, b.place) AS sum
            FROM other AS a JOIN other AS b ON a.nth < b.nth AND b.nth <= 6
        )
        SELECT string_agg(p.piece, ' | ') INTO pieces
        FROM (
            SELECT format('(%s)', t.term) AS piece FROM term AS t WHERE t.rare
            UNION ALL SELECT p.piece FROM pair AS p WHERE p.sum <= 1000
            UNION ALL SELECT string_agg(format('(%s)', o.term), ' & ') FROM other AS o
        ) AS p;
        IF every OR pieces IS NULL THEN
            pieces := query;
        END IF;
        -- IS TRUE rules out the B-trees: the GIN index intersects words and scope at the cost of the rarer one.
        SELECT string_agg(format(
            '(SELECT %s FROM convostore.episode AS e WHERE (e.tenant_id = $1) IS TRUE AND e.words @@ %L::tsquery '
            'AND (%s) IS TRUE AND (%s) IS TRUE AND e.language = %L LIMIT 3000)', columns,
            q.q && quote_literal(convostore.text_scope(tenant, agent, customer))::tsquery, scope, filters, l.l), ' UNION ALL ')
        INTO source
        FROM unnest(languages) AS l (l) CROSS JOIN LATERAL to_tsquery(l.l::regconfig, pieces) AS q (q)
        WHERE numnode(q.q) > 0;
        source := format(
            'SELECT DISTINCT ON (e.id) e.id, e.language, e.words, e.length FROM (%s (SELECT e.id, e.language, e.words, e.length '
            'FROM (%s) AS e WHERE e.fits AND %s)) AS e', coalesce(source || ' UNION ALL', ''), sample, matches);
        frequencies := ARRAY(
            SELECT format('greatest(count(*) FILTER (WHERE %s), %s)', m.mark, m.expected)
            FROM unnest(marks, expected) WITH ORDINALITY AS m (mark, expected, place) ORDER BY m.place);
    END IF;
    RETURN QUERY EXECUTE format(
        'WITH candidate AS MATERIALIZED (%1$s), '
        'weight AS MATERIALIZED (SELECT %2$s FROM %3$s AS f), '
        'scored AS (SELECT e.id, '
        'round(((%4$s) * 1.9 / (1 + 0.9 * (0.6 + 0.4 * e.length / %5$s::double precision)))::numeric, 6)::double precision AS score '
        'FROM candidate AS e CROSS JOIN weight AS w WHERE (%6$s) IS TRUE) '
        'SELECT s.id, s.score FROM scored AS s WHERE %7$s OR s.score > 0 ORDER BY s.score DESC, s.id LIMIT %8$s',
        source,
        coalesce((SELECT string_agg(format(
            'ln(1 + (greatest(%1$s - f.f%2$s, 0) + 0.5) / (f.f%2$s + 0.5)) AS w%2$s', number, f.place), ', ' ORDER BY f.place)
            FROM unnest(frequencies) WITH ORDINALITY AS f (f, place)), '0 AS w0'),
        coalesce((SELECT format('(SELECT %s FROM %s AS e)', string_agg(format('(%s)::double precision AS f%s', f.f, f.place), ', '),
            CASE WHEN expected IS NULL THEN '(VALUES (0))' ELSE 'candidate' END)
            FROM unnest(frequencies) WITH ORDINALITY AS f (f, place) HAVING count(*) > 0), '(VALUES (0))'),
        coalesce((SELECT string_agg(format('CASE WHEN %s THEN w.w%s ELSE 0 END', m.mark, m.place), ' + ' ORDER BY m.place)
            FROM unnest(marks) WITH ORDINALITY AS m (mark, place)), '0.0::double precision'),
        greatest(lengths, 1), matches, CASE WHEN every THEN 'true' ELSE 'false' END, most)
    USING tenant, agent, customer, session, "group", language, content_type, since, until, as_of;
END
$$;

REVOKE EXECUTE ON FUNCTION convostore.scored_episodes FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.scored_episodes TO convostore_app, convostore_maintenance;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.scored_episodes OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.scored_episodes;

DROP TRIGGER episode_words ON convostore.episode;

CREATE TRIGGER episode_words
    BEFORE INSERT OR UPDATE OF tenant_id, agent_id, customer_profile_id, content, language ON convostore.episode
    FOR EACH ROW EXECUTE FUNCTION convostore.set_episode_words();

CREATE OR REPLACE FUNCTION convostore.set_episode_words() RETURNS trigger LANGUAGE plpgsql AS $$
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

ALTER TABLE convostore.episode DROP COLUMN search_text;
