-- What became of each signal: one row from its plan on, finished once, when nothing of it is left to happen.
--
-- Noticing the end looks at no history: signals that are not done are a partial index, and of such a signal
-- whatever may still happen is found in three small places: the parts of its plan that are not written, the
-- questions to people, and its open orders. For those the index of a strategy's open orders gets the signal as its
-- second column, so that an order costs no further index.
-- Signals that were planned before this migration have no row: they are shown, and their end is told to nobody.

CREATE TABLE signal_outcomes (
    signal_id   uuid PRIMARY KEY REFERENCES signals,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL,
    part        smallint NOT NULL,                -- of the strategy: its owner's sweep looks whether it is done
    reasons     jsonb NOT NULL,                   -- how many accounts of the plan have each; {}: refused
    done_at     timestamptz,                      -- when the last of it ended
    summary     json,                             -- fanout.outcome.Outcome as it was then
    FOREIGN KEY (tenant_id, strategy_id) REFERENCES strategies (tenant_id, strategy_id),
    CHECK ((done_at IS NULL) = (summary IS NULL))
);
CREATE INDEX signal_outcomes_open ON signal_outcomes (part) WHERE done_at IS NULL;

-- The fence behind the code: what was told stays as it was told.
CREATE FUNCTION outcome_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the outcome of signal % stands', OLD.signal_id;
END $$;
CREATE TRIGGER final BEFORE UPDATE ON signal_outcomes FOR EACH ROW WHEN (OLD.done_at IS NOT NULL)
    EXECUTE FUNCTION outcome_is_final();

DROP INDEX orders_of_strategy;
CREATE INDEX orders_of_strategy ON orders (strategy_id, signal_id)
    WHERE state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt');

SELECT put_behind_wall('signal_outcomes', 'admin', 'worker');
GRANT SELECT ON signal_outcomes TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE (done_at, summary) ON signal_outcomes TO portcullis_worker;

-- Which signals have come to their end: ids only. `held` entries and what stands behind a position hold nothing up.
CREATE POLICY finder_sees_ends ON signal_outcomes FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees_ends ON plan_parts FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT ON signal_outcomes TO portcullis_finder;
GRANT SELECT (signal_id, strategy_id) ON plan_parts TO portcullis_finder;
GRANT SELECT (signal_id, state, carried_at) ON signal_approvals TO portcullis_finder;
GRANT SELECT (signal_id, strategy_id, role, state) ON orders TO portcullis_finder;
GRANT SELECT (hook_id) ON signals TO portcullis_finder;

-- (No search_path of its own, so that the server can put it into the statement: its two callers set theirs.)
CREATE FUNCTION signal_has_ended(signal uuid, strategy uuid) RETURNS boolean LANGUAGE sql STABLE
    AS $$ SELECT NOT EXISTS (SELECT FROM plan_parts p WHERE p.strategy_id = strategy AND p.signal_id = signal)
             AND NOT EXISTS (SELECT FROM orders o WHERE o.strategy_id = strategy AND o.signal_id = signal
                             AND o.state IN ('waiting', 'intent', 'new', 'partially_filled', 'in_doubt')
                             AND o.role = 'main')
             AND NOT EXISTS (SELECT FROM signal_approvals a WHERE a.signal_id = signal
                             AND (a.state = 'pending' OR a.state = 'approved' AND a.carried_at IS NULL)) $$;
-- Of these signals: what a worker asks when it has just learned the end of an order.
CREATE FUNCTION find_ended_among(signals uuid[]) RETURNS TABLE (signal_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.signal_id, o.tenant_id FROM signal_outcomes o
          WHERE o.signal_id = ANY(signals) AND o.done_at IS NULL
            AND signal_has_ended(o.signal_id, o.strategy_id) $$;
-- Of all that are not done: what a sweep asks, after a crash, and where no worker wrote the last word.
CREATE FUNCTION find_ended_signals(parts smallint[]) RETURNS TABLE (signal_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.signal_id, o.tenant_id FROM signal_outcomes o
          WHERE o.part = ANY(parts) AND o.done_at IS NULL AND signal_has_ended(o.signal_id, o.strategy_id) $$;
-- For a sender that waits: of a signal that came by this hook, and of no other, how far it is. Counts, no accounts.
CREATE FUNCTION find_outcomes(signals uuid[], hooks text[])
    RETURNS TABLE (signal_id uuid, state text, reasons jsonb, summary json)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT s.signal_id, s.state, o.reasons, o.summary
          FROM unnest(signals, hooks) AS asked (signal_id, hook_id)
          JOIN signals s ON s.signal_id = asked.signal_id AND s.hook_id = asked.hook_id
          LEFT JOIN signal_outcomes o ON o.signal_id = s.signal_id $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['signal_has_ended(uuid, uuid)', 'find_ended_among(uuid[])', 'find_ended_signals(smallint[])',
                             'find_outcomes(uuid[], text[])'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION find_ended_among(uuid[]), find_ended_signals(smallint[]) TO portcullis_worker;
GRANT EXECUTE ON FUNCTION find_outcomes(uuid[], text[]) TO portcullis_ingress;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
