-- Which tenants want the clock within a tier, and which of them want nothing opened while it is not.

-- The platform's own row holds for everybody.
CREATE FUNCTION find_clock_tiers() RETURNS TABLE (tenant_id uuid, platform boolean, tier text, stops boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.tenant_id, t.kind = 'platform', t.settings ->> 'clock_tier',
                 coalesce((t.settings ->> 'clock_stops')::boolean, false)
          FROM tenants t WHERE t.settings ->> 'clock_tier' IS NOT NULL $$;
-- The same in 32 characters: whoever knows them already need not read it.
CREATE FUNCTION clock_tiers_digest() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT coalesce(md5(string_agg(f::text, ';' ORDER BY f.tenant_id)), '') FROM find_clock_tiers() f $$;
-- Looked for four times a second by every worker: few of many tenants have one.
CREATE INDEX tenants_with_clock_tier ON tenants (tenant_id) WHERE settings ->> 'clock_tier' IS NOT NULL;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_clock_tiers()', 'clock_tiers_digest()'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_worker, portcullis_recorder', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
