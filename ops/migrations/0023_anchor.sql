-- The anchor log and its witnesses; what stops the trading of a log, and who lets it go on; a log's second key.

-- ---------------------------------------------------------------------------------------------- logs

-- One log of records per tenant, as ever; and of the platform one more, whose leaves are anchors of all the others.
ALTER TABLE audit_logs
    ADD COLUMN kind     text NOT NULL DEFAULT 'records' CHECK (kind IN ('records', 'anchor')),
    ADD COLUMN p256_key bytea CHECK (length(p256_key) = 91);  -- SubjectPublicKeyInfo, DER; null: it has no second key
ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_tenant_id_key;
ALTER TABLE audit_logs ADD CONSTRAINT audit_logs_tenant_kind UNIQUE (tenant_id, kind);
CREATE UNIQUE INDEX audit_logs_one_anchor ON audit_logs (kind) WHERE kind = 'anchor';
-- People and workers see a tenant's one log of records and no other; of the anchor tells anchor_log().
ALTER POLICY one_tenant ON audit_logs USING (tenant_id = portcullis_tenant() AND kind = 'records')
    WITH CHECK (tenant_id = portcullis_tenant());
CREATE OR REPLACE FUNCTION channel_starts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO channel_deliveries (channel_id, tenant_id, next_index)
        SELECT NEW.channel_id, NEW.tenant_id, coalesce(max(v.i) + 1, 0)
        FROM audit_logs l JOIN audit_leaves v USING (log_id) WHERE l.tenant_id = NEW.tenant_id AND l.kind = 'records';
    RETURN NULL;
END $$;

-- A version of a log's key is a pair of each kind: Ed25519, and since this migration P-256, made and ended together.
ALTER TABLE hsm_keys ADD COLUMN p256_key bytea CHECK (length(p256_key) = 91);
ALTER TABLE hsm_keys DROP CONSTRAINT hsm_keys_kind_check, DROP CONSTRAINT hsm_keys_check;
ALTER TABLE hsm_keys
    ADD CONSTRAINT hsm_keys_kind_check CHECK (kind IN ('kek', 'enrol', 'log', 'anchor')),
    ADD CONSTRAINT hsm_keys_check
        CHECK ((kind IN ('log', 'anchor')) = (public_key IS NOT NULL AND length(public_key) = 32)),
    ADD CONSTRAINT hsm_keys_p256 CHECK (p256_key IS NULL OR kind IN ('log', 'anchor'));
ALTER POLICY recorder_reads ON hsm_keys USING (kind IN ('log', 'anchor'));
CREATE OR REPLACE FUNCTION hsm_keys_of_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hsm_keys (tenant_id, kind, version, label, public_key, p256_key, made_at, due_at)
        VALUES (NEW.tenant_id, CASE NEW.kind WHEN 'anchor' THEN 'anchor' ELSE 'log' END, 1, NEW.key_label, NEW.public_key,
                NEW.p256_key, NEW.created_at, NEW.created_at + make_interval(days => hsm_key_days('log')));
    RETURN NULL;
END $$;

-- ---------------------------------------------------------------------------------------------- anchors

-- The place that a log has in every anchor's tree, for good. Drawn at random: a place tells nothing of how many there are.
CREATE TABLE audit_slots (
    log_id      uuid PRIMARY KEY REFERENCES audit_logs,
    tenant_id   uuid NOT NULL,
    slot        integer NOT NULL UNIQUE CHECK (slot >= 0)
);
-- That a checkpoint is under leaf `i` of the anchor log; `i` alone is the anchor's, the rest is the log's own.
CREATE TABLE audit_anchored (
    log_id      uuid NOT NULL REFERENCES audit_logs,
    i           bigint NOT NULL CHECK (i >= 0),
    tenant_id   uuid NOT NULL,
    size        bigint NOT NULL CHECK (size > 0),
    slots       integer NOT NULL CHECK (slots > 0),
    slot        integer NOT NULL CHECK (slot >= 0 AND slot < slots),
    salt        bytea NOT NULL CHECK (length(salt) = 32),
    proof       bytea NOT NULL CHECK (length(proof) % 32 = 0),
    PRIMARY KEY (log_id, i)
);
CREATE INDEX audit_anchored_size ON audit_anchored (log_id, size);
-- Witnesses' lines for the anchor log's checkpoints.
CREATE TABLE audit_cosignatures (
    log_id      uuid NOT NULL,
    size        bigint NOT NULL,
    tenant_id   uuid NOT NULL,
    witness     text NOT NULL,                    -- its name in the policy
    line        text NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log_id, size, witness),
    FOREIGN KEY (log_id, size) REFERENCES audit_checkpoints
);

-- ---------------------------------------------------------------------------------------------- halts

-- A log that is stopped, and its trading with it: what opens a position is refused. The anchor's halt is everybody's.
CREATE TABLE audit_halts (
    halt_id     uuid PRIMARY KEY,
    log_id      uuid NOT NULL REFERENCES audit_logs,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    source      text NOT NULL CHECK (source IN ('witness', 'checker', 'person')),
    why         text NOT NULL CHECK (length(why) BETWEEN 1 AND 2000),
    evidence    text,                             -- what the witness showed: a checkpoint that is not ours, as a rule
    halted_at   timestamptz NOT NULL DEFAULT now()
);
-- It stands until two people of the platform have agreed that it may go on. Nothing here is changed or taken away.
CREATE TABLE audit_lifts (
    lift_id     uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants, -- the platform
    halt_id     uuid NOT NULL UNIQUE,             -- of another tenant's log perhaps: no reference
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now()
);
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['audit_slots', 'audit_anchored', 'audit_cosignatures', 'audit_halts', 'audit_lifts'] LOOP
        EXECUTE format('CREATE TRIGGER fence BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()', t);
        EXECUTE format('CREATE TRIGGER fence_all BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER fence', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER fence_all', t);
        PERFORM put_behind_wall(t::regclass, 'admin');
        EXECUTE format('CREATE POLICY recorder_writes ON %I TO portcullis_recorder USING (true) WITH CHECK (true)', t);
        EXECUTE format('CREATE POLICY finder_sees ON %I FOR SELECT TO portcullis_finder USING (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO portcullis_admin, portcullis_recorder', t);
    END LOOP;
END $$;
GRANT INSERT ON audit_slots, audit_anchored, audit_cosignatures, audit_halts TO portcullis_recorder;
GRANT INSERT ON audit_lifts TO portcullis_admin;
GRANT SELECT ON audit_halts, audit_lifts TO portcullis_finder;

-- The anchor log's name and keys: what everybody may know. `public_keys`: oldest first, as `p256_keys` beside them.
CREATE FUNCTION anchor_log() RETURNS TABLE (log_id uuid, origin text, public_keys bytea[], p256_keys bytea[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT l.log_id, l.origin, array_agg(k.public_key ORDER BY k.version), array_agg(k.p256_key ORDER BY k.version)
          FROM audit_logs l JOIN hsm_keys k ON k.tenant_id = l.tenant_id AND k.kind = 'anchor'
          WHERE l.kind = 'anchor' GROUP BY l.log_id, l.origin $$;
GRANT SELECT (origin, kind) ON audit_logs TO portcullis_finder;
CREATE OR REPLACE FUNCTION find_due_channels(most integer) RETURNS TABLE (channel_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.channel_id, c.tenant_id
          FROM channel_deliveries d JOIN channels c USING (channel_id)
          JOIN audit_logs l ON l.tenant_id = c.tenant_id AND l.kind = 'records'
          WHERE c.enabled AND c.archived_at IS NULL AND d.state <> 'gone'
            AND d.next_at <= now() AND d.lease_until <= now()
            AND (SELECT max(v.i) FROM audit_leaves v WHERE v.log_id = l.log_id) >= d.next_index
          ORDER BY d.next_at, c.channel_id LIMIT most $$;

-- Halts as people see them: one's own and the anchor's, the platform's operators all of them. Newest first.
CREATE FUNCTION find_audit_halts(most integer)
    RETURNS TABLE (halt_id uuid, tenant_id uuid, log text, source text, why text, evidence text, halted_at timestamptz,
                   lifted_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT h.halt_id, h.tenant_id, l.kind, h.source, h.why,
                 CASE WHEN p.tenant_id IS NOT NULL OR h.tenant_id = portcullis_tenant() THEN h.evidence END,
                 h.halted_at, f.created_at
          FROM audit_halts h JOIN audit_logs l USING (log_id) LEFT JOIN audit_lifts f USING (halt_id)
          LEFT JOIN tenants p ON p.tenant_id = portcullis_tenant() AND p.kind = 'platform'
          WHERE portcullis_tenant() IS NOT NULL
            AND (p.tenant_id IS NOT NULL OR h.tenant_id = portcullis_tenant() OR l.kind = 'anchor')
          ORDER BY h.halted_at DESC, h.halt_id LIMIT most $$;

-- The kill switch's layers, and beside them `audit` (a tenant's log is halted) and `anchor` (the anchor log is).
CREATE OR REPLACE FUNCTION find_stops()
    RETURNS TABLE (what text, id uuid, broker text, symbol text, state text, intervention_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
    WITH stopped AS (
        SELECT CASE t.kind WHEN 'platform' THEN 'platform' ELSE 'tenant' END AS what, t.tenant_id AS id,
               NULL AS broker, NULL AS symbol, t.state, t.tenant_id AS object_id FROM tenants t WHERE t.state <> 'active'
        UNION ALL SELECT 'strategy', s.strategy_id, NULL, NULL, s.state, s.strategy_id FROM strategies s
            WHERE s.state <> 'active'
        UNION ALL SELECT 'group', a.account_id, NULL, NULL, g.state, g.group_id
            FROM account_groups g JOIN accounts a USING (group_id) WHERE g.state <> 'active'
        UNION ALL SELECT 'account', a.account_id, NULL, NULL, a.state, a.account_id FROM accounts a
            WHERE a.state <> 'active'
        UNION ALL SELECT CASE t.kind WHEN 'platform' THEN 'platform_instrument' ELSE 'instrument' END, h.tenant_id,
               h.broker, h.symbol, h.state, h.instrument_id
            FROM instrument_halts h JOIN tenants t USING (tenant_id) WHERE h.state <> 'active')
    SELECT f.what, f.id, f.broker, f.symbol, f.state,
           (SELECT i.intervention_id FROM interventions i WHERE i.object_id = f.object_id AND i.parent_id IS NULL
            ORDER BY i.intervention_id DESC LIMIT 1) FROM stopped f
    UNION ALL SELECT 'exit', e.signal_id, NULL, NULL, 'active', i.intervention_id
        FROM interventions i JOIN intervention_exits e USING (intervention_id) WHERE i.state = 'working'
    UNION ALL SELECT 'working', i.intervention_id, NULL, NULL, 'active', NULL
        FROM interventions i WHERE i.state = 'working'
    UNION ALL SELECT CASE l.kind WHEN 'anchor' THEN 'anchor' ELSE 'audit' END, h.tenant_id, NULL, NULL, 'reducing', NULL
        FROM audit_halts h JOIN audit_logs l USING (log_id)
        WHERE NOT EXISTS (SELECT FROM audit_lifts f WHERE f.halt_id = h.halt_id) $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
REVOKE ALL ON FUNCTION anchor_log(), find_audit_halts(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION anchor_log() TO portcullis_admin, portcullis_recorder;
GRANT EXECUTE ON FUNCTION find_audit_halts(integer) TO portcullis_admin;
ALTER FUNCTION anchor_log() OWNER TO portcullis_finder;
ALTER FUNCTION find_audit_halts(integer) OWNER TO portcullis_finder;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
