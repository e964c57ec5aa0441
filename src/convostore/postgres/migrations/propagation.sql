-- Whether the DDL of a transaction reaches the nodes of Citus. As long as no table is distributed the schema is made on the coordinator
-- alone, and `distribution` brings it to the nodes: a server that had the extension before is like one that gets it afterwards.

DO $$
DECLARE
    -- What `distribution` makes last.
    is_distributed boolean := EXISTS (
        SELECT FROM pg_trigger AS t WHERE t.tgrelid = to_regclass('convostore.session') AND t.tgname = 'binds_inserted'
    );
BEGIN
    IF to_regclass('pg_dist_partition') IS NOT NULL THEN
        -- A distribution that was interrupted has some of the tables.
        is_distributed := is_distributed OR EXISTS (
            SELECT FROM pg_dist_partition AS p JOIN pg_class AS c ON c.oid = p.logicalrelid
            WHERE c.relnamespace = to_regnamespace('convostore')
        );
    END IF;
    -- Without Citus these are names that nothing reads.
    PERFORM set_config('citus.enable_ddl_propagation', is_distributed::text, true),
        set_config('citus.propagate_set_commands', 'none', true),
        set_config('citus.enable_unsafe_triggers', 'on', true),
        set_config('citus.multi_shard_modify_mode', 'sequential', true);
END
$$;
