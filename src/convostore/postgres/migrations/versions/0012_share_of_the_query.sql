-- A text search says what part of the query an episode has.
-- phase: expand
-- compatible: 0001

-- up

GRANT CREATE ON SCHEMA convostore TO convostore_search;

SET LOCAL ROLE convostore_search;

DROP FUNCTION convostore.scored_episodes;

-- BM25 with the statistics of one scope: the episodes of an agent, customer, session and group. Below 1,000 episodes (20,000
-- of a session or group) everything is counted and scored. Above, the latest ones say how frequent each term is, and the
-- candidates are found by the rarest terms, by pairs of the others, and by all of them; in a language of which the agent has
-- 1,000 episodes at most, all that match are. Without `language` every language that the agent's episodes have is read.
-- `share` is what the terms of an episode weigh, of those that the scope has.
CREATE FUNCTION convostore.scored_episodes(
    tenant uuid, agent uuid, query text, terms text[], every boolean, language text, customer uuid, session uuid,
    "group" uuid, content_type text, since timestamptz, until timestamptz, as_of timestamptz, most bigint
)
RETURNS TABLE (id uuid, score double precision, share double precision)
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
        -- From one language to the next by the index, however many episodes each has.
        WITH RECURSIVE used (language) AS (
            (SELECT e.language FROM convostore.episode AS e
             WHERE e.tenant_id = tenant AND e.agent_id = agent ORDER BY e.language LIMIT 1)
            UNION ALL
            SELECT (SELECT e.language FROM convostore.episode AS e
                    WHERE e.tenant_id = tenant AND e.agent_id = agent AND e.language > used.language
                    ORDER BY e.language LIMIT 1)
            FROM used WHERE used.language IS NOT NULL
        )
        SELECT array_agg(used.language) INTO languages FROM used WHERE used.language IS NOT NULL;
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
        -- A language with few episodes is read by its own index.
        SELECT string_agg(format(CASE WHEN c.few
            THEN '(SELECT %1$s FROM convostore.episode AS e WHERE e.tenant_id = $1 AND (e.words @@ %2$L::tsquery) IS TRUE '
                'AND %3$s AND %4$s AND e.language = %5$L)'
            ELSE '(SELECT %1$s FROM convostore.episode AS e WHERE (e.tenant_id = $1) IS TRUE AND e.words @@ %2$L::tsquery '
                'AND (%3$s) IS TRUE AND (%4$s) IS TRUE AND e.language = %5$L LIMIT 3000)' END, columns,
            q.q && quote_literal(convostore.text_scope(tenant, agent, customer))::tsquery, scope, filters, l.l), ' UNION ALL ')
        INTO source
        FROM unnest(languages) AS l (l)
        CROSS JOIN LATERAL (
            SELECT NOT EXISTS (SELECT FROM convostore.episode AS e
                               WHERE e.tenant_id = tenant AND e.agent_id = agent AND e.language = l.l OFFSET 1000)
        ) AS c (few)
        CROSS JOIN LATERAL to_tsquery(l.l::regconfig, CASE WHEN c.few THEN query ELSE pieces END) AS q (q)
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
        'weight AS MATERIALIZED (SELECT w.*, %9$s AS known FROM (SELECT *, %2$s FROM %3$s AS f) AS w), '
        'scored AS (SELECT e.id, (%4$s) / nullif(w.known, 0) AS share, '
        'round(((%4$s) * 1.9 / (1 + 0.9 * (0.6 + 0.4 * e.length / %5$s::double precision)))::numeric, 6)::double precision AS score '
        'FROM candidate AS e CROSS JOIN weight AS w WHERE (%6$s) IS TRUE) '
        'SELECT s.id, s.score, s.share FROM scored AS s WHERE %7$s OR s.score > 0 ORDER BY s.score DESC, s.id LIMIT %8$s',
        source,
        coalesce((SELECT string_agg(format(
            'ln(1 + (greatest(%1$s - f.f%2$s, 0) + 0.5) / (f.f%2$s + 0.5)) AS w%2$s', number, f.place), ', ' ORDER BY f.place)
            FROM unnest(frequencies) WITH ORDINALITY AS f (f, place)), '0 AS w0'),
        coalesce((SELECT format('(SELECT %s FROM %s AS e)', string_agg(format('(%s)::double precision AS f%s', f.f, f.place), ', '),
            CASE WHEN expected IS NULL THEN '(VALUES (0))' ELSE 'candidate' END)
            FROM unnest(frequencies) WITH ORDINALITY AS f (f, place) HAVING count(*) > 0), '(VALUES (0))'),
        coalesce((SELECT string_agg(format('CASE WHEN %s THEN w.w%s ELSE 0 END', m.mark, m.place), ' + ' ORDER BY m.place)
            FROM unnest(marks) WITH ORDINALITY AS m (mark, place)), '0.0::double precision'),
        greatest(lengths, 1), matches, CASE WHEN every THEN 'true' ELSE 'false' END, most,
        coalesce((SELECT string_agg(format('CASE WHEN w.f%1$s > 0 THEN w.w%1$s ELSE 0 END', f.place), ' + ' ORDER BY f.place)
            FROM unnest(frequencies) WITH ORDINALITY AS f (f, place)), '0.0::double precision'))
    USING tenant, agent, customer, session, "group", language, content_type, since, until, as_of;
END
$$;

REVOKE EXECUTE ON FUNCTION convostore.scored_episodes FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.scored_episodes TO convostore_app, convostore_maintenance, convostore_reader;

SET LOCAL ROLE convostore_owner;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

GRANT CREATE ON SCHEMA convostore TO convostore_search;

SET LOCAL ROLE convostore_search;

DROP FUNCTION convostore.scored_episodes;

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
        -- From one language to the next by the index, however many episodes each has.
        WITH RECURSIVE used (language) AS (
            (SELECT e.language FROM convostore.episode AS e
             WHERE e.tenant_id = tenant AND e.agent_id = agent ORDER BY e.language LIMIT 1)
            UNION ALL
            SELECT (SELECT e.language FROM convostore.episode AS e
                    WHERE e.tenant_id = tenant AND e.agent_id = agent AND e.language > used.language
                    ORDER BY e.language LIMIT 1)
            FROM used WHERE used.language IS NOT NULL
        )
        SELECT array_agg(used.language) INTO languages FROM used WHERE used.language IS NOT NULL;
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
        -- A language with few episodes is read by its own index.
        SELECT string_agg(format(CASE WHEN c.few
            THEN '(SELECT %1$s FROM convostore.episode AS e WHERE e.tenant_id = $1 AND (e.words @@ %2$L::tsquery) IS TRUE '
                'AND %3$s AND %4$s AND e.language = %5$L)'
            ELSE '(SELECT %1$s FROM convostore.episode AS e WHERE (e.tenant_id = $1) IS TRUE AND e.words @@ %2$L::tsquery '
                'AND (%3$s) IS TRUE AND (%4$s) IS TRUE AND e.language = %5$L LIMIT 3000)' END, columns,
            q.q && quote_literal(convostore.text_scope(tenant, agent, customer))::tsquery, scope, filters, l.l), ' UNION ALL ')
        INTO source
        FROM unnest(languages) AS l (l)
        CROSS JOIN LATERAL (
            SELECT NOT EXISTS (SELECT FROM convostore.episode AS e
                               WHERE e.tenant_id = tenant AND e.agent_id = agent AND e.language = l.l OFFSET 1000)
        ) AS c (few)
        CROSS JOIN LATERAL to_tsquery(l.l::regconfig, CASE WHEN c.few THEN query ELSE pieces END) AS q (q)
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

GRANT EXECUTE ON FUNCTION convostore.scored_episodes TO convostore_app, convostore_maintenance, convostore_reader;

SET LOCAL ROLE convostore_owner;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;
