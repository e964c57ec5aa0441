-- A customer's vector search reads the covering index, whatever the statistics say.
-- phase: expand
-- compatible: 0001

-- up

-- False, and dear. `dimensions <= 1280 OR convostore.uncovered(dimensions)` follows from the predicate of the covering index,
-- so a scan of that index need not check it, and the planner charges every other plan for it, row by row.
CREATE FUNCTION convostore.uncovered(dimensions smallint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000000 AS $$
BEGIN
    RETURN false;
END
$$;

-- down

DROP FUNCTION convostore.uncovered;
