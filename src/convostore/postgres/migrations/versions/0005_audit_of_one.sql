-- One turn or event is recorded without the arrays, windows and loops that several need.
-- phase: expand
-- compatible: 0001

-- up

-- Appends one item to its chain. The head is locked first, so that no concurrent call appends to the chain.
CREATE FUNCTION convostore.record_audit_item(
    of_tenant uuid, item_kind text, moment timestamptz, item_id uuid, of_session uuid, turn_number bigint, of_turn uuid,
    of_customer uuid, event_type text, at timestamptz, body bytea
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    head convostore.audit_head;
    digest CONSTANT bytea := sha256(body);
    link bytea;
BEGIN
    IF of_tenant IS DISTINCT FROM nullif(current_setting('convostore.tenant', true), '')::uuid THEN
        RAISE insufficient_privilege USING MESSAGE = 'row-level security: the tenant is not the one that is bound';
    END IF;
    IF (item_kind IN ('turn', 'event')) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'only turns and events are recorded';
    END IF;
    head := convostore.lock_audit_head(of_tenant, coalesce(of_session::text, ''));
    head.sequence := head.sequence + 1;
    link := convostore.audit_hash(1::smallint, of_tenant, item_kind, item_id, of_session, turn_number, head.sequence, moment,
        head.hash, digest);
    INSERT INTO convostore.audit_record (tenant_id, kind, record_id, session_id, turn_number, sequence, recorded_at,
        version, previous_hash, digest, hash)
    VALUES (of_tenant, item_kind, item_id, of_session, turn_number, head.sequence, moment, 1, head.hash, digest, link)
    ON CONFLICT (tenant_id, kind, record_id) DO NOTHING;
    IF NOT FOUND THEN
        IF digest IS DISTINCT FROM (SELECT r.digest FROM convostore.audit_record AS r
            WHERE r.tenant_id = of_tenant AND r.kind = item_kind AND r.record_id = item_id)
        THEN
            RAISE unique_violation USING CONSTRAINT = 'audit_record_pkey', MESSAGE = 'the id is taken by other content';
        END IF;
        RETURN 0;
    END IF;
    INSERT INTO convostore.audit_body (tenant_id, kind, record_id, recorded_at, session_id, turn_id,
        customer_profile_id, event_type, "timestamp", content)
    VALUES (of_tenant, item_kind, item_id, moment, of_session, of_turn, of_customer, event_type, at, body);
    UPDATE convostore.audit_head AS h SET sequence = head.sequence, hash = link
    WHERE h.tenant_id = of_tenant AND h.chain = head.chain;
    RETURN 1;
END
$$;

REVOKE EXECUTE ON FUNCTION convostore.record_audit_item FROM PUBLIC;

GRANT EXECUTE ON FUNCTION convostore.record_audit_item TO convostore_app, convostore_maintenance;

GRANT CREATE ON SCHEMA convostore TO convostore_search;

ALTER FUNCTION convostore.record_audit_item OWNER TO convostore_search;

REVOKE CREATE ON SCHEMA convostore FROM convostore_search;

-- down

DROP FUNCTION convostore.record_audit_item;
