-- The keys in the HSM, by version: what was made when, what is due, what is destroyed. Names only; no key is here.

-- A tenant's own rows: `kek` (its three keys of one version) and `log` (its audit log's pair). `enrol` is the
-- platform's. A row comes after its key is in the tokens, and says `destroyed` after the key is in none of them.
CREATE TABLE hsm_keys (
    tenant_id    uuid NOT NULL REFERENCES tenants,
    kind         text NOT NULL CHECK (kind IN ('kek', 'enrol', 'log')),
    version      integer NOT NULL CHECK (version > 0),
    label        text NOT NULL,                   -- by which the signer is asked (log), or of the objects
    public_key   bytea,                           -- log: Ed25519, 32 bytes
    state        text NOT NULL DEFAULT 'current' CHECK (state IN ('current', 'old', 'ending', 'destroyed')),
    made_at      timestamptz NOT NULL DEFAULT now(),
    due_at       timestamptz NOT NULL,            -- when a new version should take over
    replaced_at  timestamptz,
    destroyed_at timestamptz,
    warned       text NOT NULL DEFAULT '' CHECK (warned IN ('', 'soon', 'overdue')),
    PRIMARY KEY (tenant_id, kind, version),
    CHECK ((kind = 'log') = (public_key IS NOT NULL AND length(public_key) = 32)),
    CHECK ((state = 'destroyed') = (destroyed_at IS NOT NULL))
);
CREATE UNIQUE INDEX hsm_keys_current ON hsm_keys (tenant_id, kind) WHERE state = 'current';
CREATE INDEX hsm_keys_due ON hsm_keys (due_at) WHERE state = 'current';

-- Forward only; a number that was used is never used again, and a key that ends does not begin anew.
CREATE FUNCTION hsm_key_moves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE places text[] := ARRAY['current', 'old', 'ending', 'destroyed'];
BEGIN
    IF array_position(places, NEW.state) < array_position(places, OLD.state) THEN
        RAISE EXCEPTION 'key % v% is %: it does not become % again', OLD.kind, OLD.version, OLD.state, NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER moves BEFORE UPDATE ON hsm_keys FOR EACH ROW EXECUTE FUNCTION hsm_key_moves();

-- How long a key of each kind is used to seal, encrypt or sign, unless its ceremony says otherwise: within the
-- cryptoperiods of NIST SP 800-57 part 1 rev. 5, table 1 (two years for wrapping and transport, one to three for signing).
CREATE FUNCTION hsm_key_days(kind text) RETURNS integer LANGUAGE sql IMMUTABLE
    AS $$ SELECT CASE kind WHEN 'kek' THEN 365 ELSE 730 END $$;

-- Keys come before rows: whoever inserts a tenant or a log has its keys of version 1 in the tokens already.
CREATE FUNCTION hsm_keys_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hsm_keys (tenant_id, kind, version, label, made_at, due_at)
        SELECT NEW.tenant_id, k.kind, 1, k.label, NEW.created_at, NEW.created_at + make_interval(days => hsm_key_days(k.kind))
        FROM (VALUES ('kek', 'kek/' || NEW.tenant_id || '/v1'), ('enrol', 'enrol')) AS k (kind, label)
        WHERE k.kind = 'kek' OR NEW.kind = 'platform';
    RETURN NULL;
END $$;
CREATE TRIGGER keys AFTER INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION hsm_keys_of_tenant();
CREATE FUNCTION hsm_keys_of_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hsm_keys (tenant_id, kind, version, label, public_key, made_at, due_at)
        VALUES (NEW.tenant_id, 'log', 1, NEW.key_label, NEW.public_key, NEW.created_at,
                NEW.created_at + make_interval(days => hsm_key_days('log')));
    RETURN NULL;
END $$;
CREATE TRIGGER keys AFTER INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION hsm_keys_of_log();

-- What stands already.
INSERT INTO hsm_keys (tenant_id, kind, version, label, made_at, due_at)
    SELECT tenant_id, 'kek', 1, 'kek/' || tenant_id || '/v1', created_at, created_at + make_interval(days => hsm_key_days('kek'))
    FROM tenants;
INSERT INTO hsm_keys (tenant_id, kind, version, label, made_at, due_at)
    SELECT tenant_id, 'enrol', 1, 'enrol', created_at, created_at + make_interval(days => hsm_key_days('enrol'))
    FROM tenants WHERE kind = 'platform';
INSERT INTO hsm_keys (tenant_id, kind, version, label, public_key, made_at, due_at)
    SELECT tenant_id, 'log', 1, key_label, public_key, created_at, created_at + make_interval(days => hsm_key_days('log'))
    FROM audit_logs;

SELECT put_behind_wall('hsm_keys', 'admin');
GRANT SELECT, INSERT ON hsm_keys TO portcullis_admin;
GRANT UPDATE (state, due_at, replaced_at, destroyed_at, warned) ON hsm_keys TO portcullis_admin;
-- The same secret sealed anew, in place of the old row (gateway/admin/resealing.py).
GRANT UPDATE (sealed) ON factors, channel_secrets TO portcullis_admin;
CREATE POLICY recorder_reads ON hsm_keys FOR SELECT TO portcullis_recorder USING (kind = 'log');
GRANT SELECT ON hsm_keys TO portcullis_recorder;

-- A customer whose keys may be destroyed: two people of the platform agreed. The ceremony on the host asks for it.
CREATE TABLE offboardings (
    offboarding_id uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants,        -- the platform
    customer_id  uuid NOT NULL,                   -- another tenant: no reference, a row holds to its own wall
    reason       text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    revision     bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,
    CHECK (customer_id <> tenant_id)
);
CREATE UNIQUE INDEX offboardings_open ON offboardings (customer_id) WHERE destroyed_at IS NULL;
SELECT put_behind_wall('offboardings', 'admin');
GRANT SELECT, INSERT ON offboardings TO portcullis_admin;
GRANT UPDATE (destroyed_at) ON offboardings TO portcullis_admin;

-- Across tenants: the operators' calendar (only from within the platform), and for the clock what is due, ids only.
CREATE POLICY finder_sees ON hsm_keys FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT ON hsm_keys TO portcullis_finder;
CREATE FUNCTION find_hsm_keys(after_tenant uuid, after_kind text, after_version integer, most integer)
    RETURNS TABLE (tenant_id uuid, name text, kind text, version integer, label text, state text, made_at timestamptz,
                   due_at timestamptz, replaced_at timestamptz, destroyed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT k.tenant_id, t.name, k.kind, k.version, k.label, k.state, k.made_at, k.due_at, k.replaced_at, k.destroyed_at
          FROM hsm_keys k JOIN tenants t USING (tenant_id)
          WHERE (after_tenant IS NULL OR (k.tenant_id, k.kind, k.version) > (after_tenant, after_kind, after_version))
            AND EXISTS (SELECT 1 FROM tenants p WHERE p.tenant_id = portcullis_tenant() AND p.kind = 'platform')
          ORDER BY k.tenant_id, k.kind, k.version LIMIT most $$;
CREATE FUNCTION hsm_keys_next_due() RETURNS TABLE (kind text, due_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT k.kind, min(k.due_at) FROM hsm_keys k WHERE k.state = 'current' GROUP BY k.kind $$;
CREATE FUNCTION find_keys_to_warn(at timestamptz, ahead interval, most integer)
    RETURNS TABLE (tenant_id uuid, kind text, version integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT k.tenant_id, k.kind, k.version FROM hsm_keys k
          WHERE k.state = 'current' AND k.due_at <= at + ahead
            AND k.warned <> CASE WHEN k.due_at <= at THEN 'overdue' ELSE 'soon' END
          ORDER BY k.due_at, k.tenant_id LIMIT most $$;
-- Who has secrets under an old version perhaps, and the version to seal them under.
CREATE FUNCTION find_tenants_to_reseal() RETURNS TABLE (tenant_id uuid, version integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT k.tenant_id, k.version FROM hsm_keys k WHERE k.kind = 'kek' AND k.state = 'current'
          AND EXISTS (SELECT FROM hsm_keys o WHERE o.tenant_id = k.tenant_id AND o.kind = 'kek' AND o.state = 'old') $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_hsm_keys(uuid, text, integer, integer)', 'hsm_keys_next_due()',
                             'find_keys_to_warn(timestamptz, interval, integer)', 'find_tenants_to_reseal()'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
