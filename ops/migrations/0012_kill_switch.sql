-- The kill switch: instruments as a layer of their own, and interventions: what one act of the switch stopped,
-- cancelled and closed.
--
-- Every halt leaves a row of `interventions`, in the transaction that makes the layer stricter. For `cancel_open` and
-- `flatten` the row is work: the workers carry it out from here, whatever process dies meanwhile. An order that the
-- switch denied or cancelled names the intervention that did it.

CREATE TABLE instrument_halts (
    instrument_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,        -- the platform's rows hold for everybody
    broker      text NOT NULL CHECK (length(broker) BETWEEN 1 AND 40),
    symbol      text NOT NULL CHECK (length(symbol) BETWEEN 1 AND 50),   -- as the broker names it
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'reducing', 'halted')),
    revision    bigint NOT NULL DEFAULT 0,               -- 0: nothing was ever said of it
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, broker, symbol)
);

CREATE TABLE interventions (
    intervention_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    part        smallint NOT NULL,                       -- the worker that owns this partition drives it
    level       text NOT NULL CHECK (level IN ('no_open', 'block_all', 'cancel_open', 'flatten')),
    scope       text NOT NULL CHECK (scope IN ('platform', 'tenant', 'strategy', 'group', 'account', 'instrument')),
    object_id   uuid NOT NULL,                           -- the layer's row; no key: six tables
    broker      text,
    symbol      text,
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    by          jsonb NOT NULL,                          -- tenancy.scope.Actor
    at          timestamptz NOT NULL,
    parent_id   uuid,                                    -- the platform's own row, which one in each customer carries
                                                         -- out; no key: it is another tenant's
    state       text NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'done', 'failed', 'released')),
    late_at     timestamptz,                             -- when somebody was told that it takes too long
    ended_at    timestamptz,
    UNIQUE (tenant_id, intervention_id),
    UNIQUE (tenant_id, parent_id),
    CHECK ((scope = 'instrument') = (broker IS NOT NULL AND symbol IS NOT NULL)),
    CHECK ((state = 'working') = (ended_at IS NULL)),
    CHECK (state <> 'working' OR level IN ('cancel_open', 'flatten'))
);
CREATE INDEX interventions_of_tenant ON interventions (tenant_id, intervention_id DESC);
CREATE INDEX interventions_of_object ON interventions (object_id, intervention_id DESC) WHERE parent_id IS NULL;
CREATE INDEX interventions_of_parent ON interventions (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX interventions_working ON interventions (intervention_id) WHERE state = 'working';

-- The exits that a flatten has sent: signals of our own, one for each strategy, broker, symbol and round.
CREATE TABLE intervention_exits (
    signal_id   uuid PRIMARY KEY REFERENCES signals,
    intervention_id uuid NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL,
    broker      text NOT NULL,
    symbol      text NOT NULL,
    round       smallint NOT NULL CHECK (round > 0),
    at          timestamptz NOT NULL,
    UNIQUE (intervention_id, strategy_id, broker, symbol, round),
    FOREIGN KEY (tenant_id, intervention_id) REFERENCES interventions (tenant_id, intervention_id)
);

ALTER TABLE orders ADD COLUMN intervention_id uuid;      -- denied or cancelled by it
CREATE INDEX orders_stopped ON orders (tenant_id, intervention_id, cl_ord_id) WHERE intervention_id IS NOT NULL;

-- What is not active, found in an instant however many objects there are.
CREATE INDEX tenants_stopped ON tenants (tenant_id) WHERE state <> 'active';
CREATE INDEX strategies_stopped ON strategies (strategy_id) WHERE state <> 'active';
CREATE INDEX account_groups_stopped ON account_groups (group_id) WHERE state <> 'active';
CREATE INDEX accounts_stopped ON accounts (account_id) WHERE state <> 'active';
CREATE INDEX instrument_halts_stopped ON instrument_halts (instrument_id) WHERE state <> 'active';

SELECT put_behind_wall('instrument_halts', 'admin', 'worker');
SELECT put_behind_wall('interventions', 'admin', 'worker');
SELECT put_behind_wall('intervention_exits', 'admin', 'worker');
GRANT SELECT, INSERT, UPDATE (state, revision) ON instrument_halts TO portcullis_admin;
GRANT SELECT ON instrument_halts TO portcullis_worker;
GRANT SELECT, INSERT, UPDATE (state, ended_at) ON interventions TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE (state, late_at, ended_at) ON interventions TO portcullis_worker;
GRANT SELECT ON intervention_exits TO portcullis_admin;
GRANT SELECT, INSERT ON intervention_exits TO portcullis_worker;

-- A worker keeps no signal but the kill switch's own, and only within the tenant that it works for.
CREATE POLICY worker_keeps_exits_only ON signals AS RESTRICTIVE FOR INSERT TO portcullis_worker
    WITH CHECK (tenant_id = portcullis_tenant() AND origin = 'kill_switch' AND hook_id = '~kill_switch' AND accounts IS NOT NULL);
GRANT INSERT ON signals TO portcullis_worker;
-- And ingress none of them: what comes from outside is bound by every halt.
CREATE POLICY ingress_keeps_senders_only ON signals AS RESTRICTIVE FOR INSERT TO portcullis_ingress
    WITH CHECK (origin = 'hook' AND accounts IS NULL);

-- ---------------------------------------------------------------------------------------------- release

-- Whoever lets a layer trade again ends what is still under way for it, in the same transaction and by whatever way
-- the layer became active: a release, a second person's yes, a hand in the database.
CREATE FUNCTION interventions_released() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE interventions i SET state = 'released', ended_at = now()
    WHERE i.tenant_id = NEW.tenant_id AND i.object_id = (to_jsonb(NEW) ->> TG_ARGV[0])::uuid AND i.state = 'working';
    RETURN NULL;
END $$;
DO $$
DECLARE t text; k text;
BEGIN
    FOR t, k IN VALUES ('tenants', 'tenant_id'), ('strategies', 'strategy_id'), ('account_groups', 'group_id'),
                       ('accounts', 'account_id'), ('instrument_halts', 'instrument_id') LOOP
        EXECUTE format('CREATE TRIGGER released AFTER UPDATE OF state ON %I FOR EACH ROW
                        WHEN (OLD.state <> ''active'' AND NEW.state = ''active'')
                        EXECUTE FUNCTION interventions_released(%L)', t, k);
    END LOOP;
END $$;

-- ---------------------------------------------------------------------------------------------- finders

CREATE POLICY finder_sees ON strategies FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON account_groups FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON instrument_halts FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON interventions FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON intervention_exits FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (strategy_id, tenant_id, state) ON strategies TO portcullis_finder;
GRANT SELECT (group_id, tenant_id, state) ON account_groups TO portcullis_finder;
GRANT SELECT (group_id) ON accounts TO portcullis_finder;
GRANT SELECT (instrument_id, tenant_id, broker, symbol, state) ON instrument_halts TO portcullis_finder;
GRANT SELECT (intervention_id, tenant_id, part, level, object_id, parent_id, state) ON interventions TO portcullis_finder;
GRANT SELECT (signal_id, intervention_id) ON intervention_exits TO portcullis_finder;
GRANT SELECT (intervention_id, cancel_requested_at) ON orders TO portcullis_finder;
GRANT SELECT (origin) ON signals TO portcullis_finder;

-- Everything that an order about to be sent is measured by: ids and states only. `what`: a layer; `exit`, a signal of
-- ours that closes whatever is halted; `working`, an intervention that is under way.
CREATE FUNCTION find_stops()
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
        FROM interventions i WHERE i.state = 'working' $$;
-- The same in 32 characters: whoever knows them already need not read it.
CREATE FUNCTION stops_digest() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT coalesce(md5(string_agg(f::text, ';' ORDER BY f.what, f.id, f.broker, f.symbol)), '') FROM find_stops() f $$;
-- Interventions that are under way, and the state of the platform's own that they carry out.
CREATE FUNCTION find_interventions()
    RETURNS TABLE (intervention_id uuid, tenant_id uuid, tenant_kind text, part smallint, parent_state text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT i.intervention_id, i.tenant_id, t.kind, i.part, p.state
          FROM interventions i JOIN tenants t USING (tenant_id) LEFT JOIN interventions p ON p.intervention_id = i.parent_id
          WHERE i.state = 'working' ORDER BY i.intervention_id $$;
-- Customers in which a platform's intervention has not begun.
CREATE FUNCTION find_untouched(parent uuid) RETURNS TABLE (tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.tenant_id FROM tenants t WHERE t.kind = 'customer' AND NOT EXISTS
          (SELECT FROM interventions c WHERE c.parent_id = parent AND c.tenant_id = t.tenant_id) $$;
-- How far the platform's intervention is: customers by state, and how many orders it stopped; nothing of their trading.
CREATE FUNCTION intervention_counts(parent uuid)
    RETURNS TABLE (working bigint, done bigint, failed bigint, released bigint, denied bigint, to_cancel bigint, canceled bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.working, c.done, c.failed, c.released, o.denied, o.to_cancel, o.canceled FROM
          (SELECT count(*) FILTER (WHERE i.state = 'working') AS working, count(*) FILTER (WHERE i.state = 'done') AS done,
                  count(*) FILTER (WHERE i.state = 'failed') AS failed,
                  count(*) FILTER (WHERE i.state = 'released') AS released
           FROM interventions i WHERE i.parent_id = parent) c,
          (SELECT count(*) FILTER (WHERE s.state = 'denied' AND s.cancel_requested_at IS NULL) AS denied,
                  count(s.cancel_requested_at) AS to_cancel,
                  count(*) FILTER (WHERE s.state = 'canceled' AND s.cancel_requested_at IS NOT NULL) AS canceled
           FROM orders s WHERE s.intervention_id = parent
                 OR s.intervention_id IN (SELECT i.intervention_id FROM interventions i WHERE i.parent_id = parent)) o $$;
-- What the platform says of instruments, for customers to see.
CREATE FUNCTION platform_instruments() RETURNS TABLE (broker text, symbol text, state text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT h.broker, h.symbol, h.state FROM instrument_halts h JOIN tenants t USING (tenant_id)
          WHERE t.kind = 'platform' AND h.state <> 'active' ORDER BY h.broker, h.symbol $$;
-- The kill switch's own signals go before whatever else a strategy has waiting: nothing may hold them up.
CREATE OR REPLACE FUNCTION find_accepted_signals(parts smallint[], most integer)
    RETURNS TABLE (signal_id uuid, tenant_id uuid, strategy_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT f.signal_id, f.tenant_id, f.strategy_id FROM (
              SELECT s.signal_id, s.tenant_id, s.strategy_id, coalesce(s.not_before, s.received_at) AS due,
                     s.origin <> 'kill_switch' AS waits,
                     row_number() OVER (PARTITION BY s.strategy_id ORDER BY s.origin <> 'kill_switch',
                                        coalesce(s.not_before, s.received_at), s.signal_id) AS n
              FROM signals s WHERE s.state = 'accepted' AND s.part = ANY(parts)
                               AND (s.not_before IS NULL OR s.not_before <= clock_timestamp())) AS f
          WHERE f.n <= most ORDER BY f.waits, f.due, f.signal_id $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_stops()', 'stops_digest()', 'find_interventions()', 'find_untouched(uuid)',
                             'intervention_counts(uuid)', 'platform_instruments()'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION find_stops(), stops_digest(), find_interventions(), find_untouched(uuid), platform_instruments()
    TO portcullis_worker;
GRANT EXECUTE ON FUNCTION intervention_counts(uuid) TO portcullis_worker;
GRANT EXECUTE ON FUNCTION intervention_counts(uuid), platform_instruments() TO portcullis_admin;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
