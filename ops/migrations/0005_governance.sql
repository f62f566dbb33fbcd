-- Who agrees and who is let in: the hour of an approved proposal, and what the platform sees of its customers.

GRANT UPDATE (effective_from) ON proposals TO portcullis_admin;
ALTER TABLE proposals
    ADD CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    ADD CHECK (state <> 'failed' OR failure IS NOT NULL);
CREATE INDEX proposals_open ON proposals (expires_at) WHERE state = 'open';
CREATE UNIQUE INDEX access_grants_asked ON access_grants (tenant_id, operator_id) WHERE state = 'asked';

-- One line of the operator's list of customers. Only from within the platform; no trading in it.
CREATE FUNCTION tenant_entry(wanted uuid)
    RETURNS TABLE (tenant_id uuid, name text, kind text, state text, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.tenant_id, t.name, t.kind, t.state, t.created_at FROM tenants t
          WHERE t.tenant_id = wanted
            AND EXISTS (SELECT 1 FROM tenants p WHERE p.tenant_id = portcullis_tenant() AND p.kind = 'platform') $$;
-- Whose log is told when a customer lets an operator in, or does not.
CREATE FUNCTION platform_tenant() RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.tenant_id FROM tenants t WHERE t.kind = 'platform' $$;
-- What one operator asked for, in all tenants. Only from within the platform: the operator's own words come back.
CREATE POLICY finder_sees ON access_grants FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (grant_id, tenant_id, operator_id, reason, minutes, state, asked_at, decided_at, expires_at) ON access_grants
    TO portcullis_finder;
CREATE FUNCTION find_access_asks(operator text, before uuid, most integer)
    RETURNS TABLE (grant_id uuid, tenant_id uuid, operator_id text, reason text, minutes integer, state text,
                   asked_at timestamptz, decided_at timestamptz, expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT g.grant_id, g.tenant_id, g.operator_id, g.reason, g.minutes, g.state, g.asked_at, g.decided_at, g.expires_at
          FROM access_grants g
          WHERE g.operator_id = operator AND (before IS NULL OR g.grant_id < before)
            AND EXISTS (SELECT 1 FROM tenants p WHERE p.tenant_id = portcullis_tenant() AND p.kind = 'platform')
          ORDER BY g.grant_id DESC LIMIT most $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['tenant_entry(uuid)', 'platform_tenant()', 'find_access_asks(text, uuid, integer)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
