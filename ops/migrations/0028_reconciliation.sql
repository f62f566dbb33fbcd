-- Reconciliation: does our book of an account agree with its broker's, what differs and why, and who decided what.
--
-- A worker writes what it found (fanout/reconcile.py). A person, or the account's policy, decides by a row of
-- `drift_decisions`; the worker that holds the account's partition carries it out, once (fanout/drift_decisions.py).

CREATE TABLE reconciliations (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    account_id  uuid NOT NULL,
    state       text NOT NULL CHECK (state IN ('agreed', 'differs', 'unknown')),
    why         text NOT NULL DEFAULT '',         -- unknown: why the broker could not be asked
    at          timestamptz NOT NULL,             -- of the last round
    epoch       bigint NOT NULL,                  -- of the lease under which it was made
    agreed_at   timestamptz,                      -- the last time that the two were the same
    away_at     timestamptz,                      -- the last time that the broker could not be asked
    baseline    jsonb NOT NULL DEFAULT '{}',      -- spot: asset -> what is there and is not ours
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id)
);

CREATE TABLE drifts (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    drift_id    uuid NOT NULL,
    account_id  uuid NOT NULL,
    part        smallint NOT NULL,                -- of the account
    kind        text NOT NULL CHECK (kind IN ('position', 'order', 'shortfall')),
    subject     text NOT NULL CHECK (length(subject) BETWEEN 1 AND 256),   -- symbol, asset, the broker's order id, cl_ord_id
    symbol      text,                             -- where it is known
    ours        numeric NOT NULL,                 -- signed lots
    theirs      numeric NOT NULL,
    cause       text NOT NULL CHECK (cause IN ('manual_order', 'missed_signal', 'insufficient_funds', 'exchange_down',
                                               'just_subscribed', 'settings_changed', 'liquidated', 'unexplained')),
    evidence    jsonb NOT NULL,
    since       timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'explained', 'corrected', 'closed')),
    decided_by  jsonb,                            -- tenancy.scope.Actor
    reason      text,
    signal_id   uuid,                             -- of the corrective order
    ended_at    timestamptz,                      -- when it was no longer open
    PRIMARY KEY (tenant_id, drift_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id),
    CHECK ((state = 'open') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX drifts_open ON drifts (tenant_id, account_id, kind, subject) WHERE state = 'open';
CREATE INDEX drifts_standing ON drifts (account_id)
    WHERE state = 'open' OR state = 'explained' AND kind <> 'shortfall';
CREATE INDEX drifts_of_tenant ON drifts (tenant_id, drift_id DESC);
CREATE INDEX drifts_of_account ON drifts (tenant_id, account_id, drift_id DESC);

-- What somebody decided of a drift. `by`: a person, or the reconciler for the account's policy.
CREATE TABLE drift_decisions (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    decision_id uuid NOT NULL,
    drift_id    uuid NOT NULL,
    part        smallint NOT NULL,                -- of the account: whose worker carries it out
    decision    text NOT NULL CHECK (decision IN ('accept', 'set_aside', 'correct', 'halt')),
    strategy_id uuid,                             -- whose position is adjusted, where several could be meant
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    by          jsonb NOT NULL,                   -- tenancy.scope.Actor
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz,
    outcome     text,                             -- 'done', or why nothing was done
    PRIMARY KEY (tenant_id, decision_id),
    FOREIGN KEY (tenant_id, drift_id) REFERENCES drifts (tenant_id, drift_id),
    CHECK ((done_at IS NULL) = (outcome IS NULL))
);
CREATE UNIQUE INDEX drift_decisions_open ON drift_decisions (tenant_id, drift_id) WHERE done_at IS NULL;
CREATE INDEX drift_decisions_pending ON drift_decisions (part) WHERE done_at IS NULL;

SELECT put_behind_wall('reconciliations', 'admin', 'worker');
SELECT put_behind_wall('drifts', 'admin', 'worker');
SELECT put_behind_wall('drift_decisions', 'admin', 'worker');
GRANT SELECT ON reconciliations, drifts TO portcullis_admin;
GRANT SELECT, INSERT ON drift_decisions TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE (state, why, at, epoch, agreed_at, away_at, baseline) ON reconciliations TO portcullis_worker;
GRANT SELECT, INSERT, UPDATE (ours, theirs, cause, evidence, state, decided_by, reason, signal_id, ended_at)
    ON drifts TO portcullis_worker;
GRANT SELECT, INSERT, UPDATE (done_at, outcome) ON drift_decisions TO portcullis_worker;

-- What is to be done when our book and the broker's differ: the account's own word, else the tenant's (in its settings).
ALTER TABLE accounts ADD COLUMN on_drift text CHECK (on_drift IN ('report', 'correct', 'halt'));

-- Legs that ended without their fill, by account: where a shortfall is looked for.
CREATE INDEX orders_ended_without ON orders (account_id, done_at)
    WHERE state IN ('rejected', 'unsent', 'absent', 'denied', 'expired', 'canceled');

-- Settings that changed since the two last agreed, as a cause: the worker reads whether and when, and nothing of what.
GRANT SELECT (tenant_id, kind, object_id, revision, at) ON revisions TO portcullis_worker;

-- It makes an account stricter by that policy, as it does for a dangerous key, and leaves a revision of it.
DROP POLICY worker_revises_keys_only ON revisions;
CREATE POLICY worker_revises_keys_only ON revisions AS RESTRICTIVE FOR INSERT TO portcullis_worker
    WITH CHECK (tenant_id = portcullis_tenant() AND kind || ' ' || (actor ->> 'id')
                IN ('credential prover', 'account prover', 'account reconciler'));

-- A worker keeps the kill switch's exits, and the orders that put a drift right: for accounts that they name, bound by
-- every limit and halt as a sender's signal is (fanout/mandate.py).
ALTER TABLE signals DROP CONSTRAINT signals_origin_check;
ALTER TABLE signals ADD CONSTRAINT signals_origin_check CHECK (origin IN ('hook', 'kill_switch', 'person', 'reconciliation'));
DROP POLICY worker_keeps_exits_only ON signals;
CREATE POLICY worker_keeps_exits_only ON signals AS RESTRICTIVE FOR INSERT TO portcullis_worker
    WITH CHECK (tenant_id = portcullis_tenant() AND accounts IS NOT NULL
                AND origin || ' ' || hook_id IN ('kill_switch ~kill_switch', 'reconciliation ~reconciliation'));

CREATE POLICY finder_sees ON drift_decisions FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (decision_id, tenant_id, part, done_at) ON drift_decisions TO portcullis_finder;
CREATE FUNCTION find_drift_decisions(parts smallint[]) RETURNS TABLE (decision_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT d.decision_id, d.tenant_id FROM drift_decisions d
          WHERE d.done_at IS NULL AND d.part = ANY(parts) ORDER BY d.decision_id LIMIT 256 $$;
-- For metrics: how many drifts of these partitions are open, by cause; nothing of whose.
CREATE POLICY finder_sees ON drifts FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (part, cause, state) ON drifts TO portcullis_finder;
CREATE FUNCTION count_drifts(parts smallint[]) RETURNS TABLE (cause text, open bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT d.cause, count(*) FROM drifts d WHERE d.state = 'open' AND d.part = ANY(parts) GROUP BY d.cause $$;
-- Accounts whose book a worker compares with their broker's: halted ones as well.
GRANT SELECT (archived_at) ON accounts TO portcullis_finder;
CREATE FUNCTION find_reconciled(parts smallint[])
    RETURNS TABLE (account_id uuid, tenant_id uuid, broker text, part smallint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT a.account_id, a.tenant_id, a.broker, a.part FROM accounts a
          WHERE a.part = ANY(parts) AND a.archived_at IS NULL $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_drift_decisions(smallint[])', 'count_drifts(smallint[])', 'find_reconciled(smallint[])'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_worker', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
