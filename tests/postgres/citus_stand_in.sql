-- A stand-in for the functions of Citus that distribute a table, on one server: what Citus does to the rows of a table
-- and what it refuses, as its source says (commands/create_distributed_table.c, foreign_constraint.c, trigger.c). It is
-- not Citus: the shards of a table are the table itself, whose rows are taken out and put in again as into shards.

CREATE TABLE public.pg_dist_partition (
    logicalrelid regclass PRIMARY KEY, partmethod "char" NOT NULL, repmodel "char" NOT NULL
);

-- What statements would send to the nodes, in order.
CREATE TABLE public.sent (number bigint GENERATED ALWAYS AS IDENTITY, tag text, kind text, object oid, query text);

CREATE FUNCTION public.note_sent() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    unwelcome text := nullif(current_setting('stand_in.interrupt', true), '');
BEGIN
    INSERT INTO public.sent (tag, kind, object, query)
    SELECT c.command_tag, c.object_type, c.objid, current_query() FROM pg_event_trigger_ddl_commands() AS c;
    IF current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on' AND EXISTS (
        SELECT FROM pg_event_trigger_ddl_commands() AS c JOIN pg_trigger AS t ON t.oid = c.objid
        JOIN public.pg_dist_partition AS p ON p.logicalrelid = t.tgrelid
        WHERE c.classid = 'pg_trigger'::regclass)
    THEN
        RAISE feature_not_supported USING MESSAGE = 'triggers are not supported on distributed tables when '
            '"citus.enable_unsafe_triggers" is set to "false"';
    END IF;
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() AS c WHERE c.object_identity ~ unwelcome) THEN
        RAISE query_canceled USING MESSAGE = 'interrupted';
    END IF;
END
$$;

CREATE EVENT TRIGGER note_sent ON ddl_command_end EXECUTE FUNCTION public.note_sent();

-- "triggers are not supported on distributed tables", neither is IF EXISTS nor OR REPLACE of them relied on.
CREATE FUNCTION public.check_triggers() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() ~* '(OR REPLACE TRIGGER|DROP TRIGGER IF EXISTS)' THEN
        RAISE undefined_object USING MESSAGE = 'name a trigger that is there, or that is not';
    END IF;
END
$$;

CREATE EVENT TRIGGER check_triggers ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER', 'DROP TRIGGER')
    EXECUTE FUNCTION public.check_triggers();

-- Refuses a table that is distributed, or has triggers without the setting or one that asks tables on a shard.
CREATE FUNCTION public.check_table(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    IF EXISTS (SELECT FROM public.pg_dist_partition AS p WHERE p.logicalrelid = relation) THEN
        RAISE invalid_table_definition USING MESSAGE = format('table "%s" is already distributed', relation);
    END IF;
    IF current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on'
        AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = relation AND NOT t.tgisinternal)
    THEN
        RAISE feature_not_supported USING
            MESSAGE = format('cannot distribute relation "%s" because it has triggers', relation);
    END IF;
    SELECT t.tgname INTO found FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND NOT t.tgisinternal AND t.tgtype & 4 = 4
      AND p.prosrc ~ '(FROM|INTO|UPDATE) convostore\.';
    IF found IS NOT NULL THEN
        RAISE undefined_table USING
            MESSAGE = format('%s on a shard of %s asks a table that the node does not have', found, relation);
    END IF;
    SELECT f.confrelid::regclass INTO found FROM pg_constraint AS f
    WHERE f.contype = 'f' AND f.conrelid = relation AND f.confrelid <> relation
      AND NOT EXISTS (SELECT FROM public.pg_dist_partition AS p WHERE p.logicalrelid = f.confrelid);
    IF found IS NOT NULL THEN
        RAISE invalid_table_definition USING
            MESSAGE = format('referenced table "%s" must be a distributed table or a reference table', found);
    END IF;
END
$$;

-- Puts the rows into shards with the triggers that the table has; what it has for good is made before (ENABLE ALWAYS).
CREATE FUNCTION public.copy_into_shards(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns text := (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute AS a
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '');
    always record;
BEGIN
    EXECUTE format('CREATE TEMP TABLE local_rows AS SELECT %s FROM %s', columns, relation);
    FOR always IN
        SELECT t.tgrelid::regclass AS of, t.tgname AS name FROM pg_trigger AS t
        WHERE t.tgenabled = 'A' AND t.tgrelid IN (SELECT relation UNION SELECT relid FROM pg_partition_tree(relation))
    LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', always.of, always.name);
    END LOOP;
    SET LOCAL session_replication_role = replica;
    EXECUTE format('DELETE FROM %s', relation);
    SET LOCAL session_replication_role = origin;
    FOR always IN
        SELECT t.tgrelid::regclass AS of, t.tgname AS name FROM pg_trigger AS t
        WHERE t.tgenabled = 'D' AND t.tgrelid IN (SELECT relation UNION SELECT relid FROM pg_partition_tree(relation))
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', always.of, always.name);
    END LOOP;
    EXECUTE format('INSERT INTO %s (%s) SELECT %2$s FROM local_rows', relation, columns);
    DROP TABLE local_rows;
    IF relation::text ~ nullif(current_setting('stand_in.lose', true), '') THEN
        EXECUTE format('DELETE FROM %s WHERE ctid = (SELECT min(ctid) FROM %1$s)', relation);
    END IF;
    IF relation::text ~ nullif(current_setting('stand_in.interrupt', true), '') THEN
        RAISE query_canceled USING MESSAGE = 'interrupted';
    END IF;
END
$$;

CREATE FUNCTION public.create_distributed_table(relation regclass, by text, colocate_with text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    PERFORM public.check_table(relation);
    SELECT i.indexrelid::regclass INTO found FROM pg_index AS i
    WHERE i.indrelid = relation AND i.indisunique AND NOT EXISTS (
        SELECT FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = by AND a.attnum = ANY (i.indkey));
    IF found IS NOT NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = format('creating unique indexes on non-partition columns: %s', found);
    END IF;
    IF colocate_with <> 'none'
        AND NOT EXISTS (SELECT FROM public.pg_dist_partition AS p WHERE p.logicalrelid = colocate_with::regclass)
    THEN
        RAISE invalid_table_definition USING MESSAGE = format('relation %s is not distributed', colocate_with);
    END IF;
    INSERT INTO public.pg_dist_partition SELECT relation, 'h', 's';
    INSERT INTO public.pg_dist_partition
    SELECT t.relid, 'h', 's' FROM pg_partition_tree(relation) AS t WHERE t.relid <> relation;
    PERFORM public.copy_into_shards(relation);
END
$$;

CREATE FUNCTION public.create_reference_table(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.check_table(relation);
    IF EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = relation AND NOT t.tgisinternal) THEN
        RAISE feature_not_supported USING MESSAGE = 'triggers are not supported on reference tables';
    END IF;
    INSERT INTO public.pg_dist_partition VALUES (relation, 'n', 't');
    PERFORM public.copy_into_shards(relation);
    -- The coordinator's own, if it is one of the nodes.
    EXECUTE format('CREATE TABLE %s_102040 (LIKE %1$s INCLUDING ALL)', relation);
END
$$;

-- Here the rows of the shards, as they are the table's own.
CREATE FUNCTION public.truncate_local_data_after_distributing_table(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('TRUNCATE %s CASCADE', relation);
END
$$;

CREATE FUNCTION public.citus_table_size(relation regclass) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.pg_dist_partition AS p WHERE p.logicalrelid = relation) THEN
        RAISE undefined_table USING
            MESSAGE = format('cannot calculate the size because %s is not distributed', relation);
    END IF;
    RETURN pg_table_size(relation);
END
$$;

CREATE FUNCTION public.citus_total_relation_size(relation regclass) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN public.citus_table_size(relation) + pg_indexes_size(relation);
END
$$;

CREATE FUNCTION public.get_shard_id_for_distribution_column(relation regclass, value uuid) RETURNS bigint
LANGUAGE sql RETURN 102008;

GRANT SELECT ON public.pg_dist_partition TO PUBLIC;
