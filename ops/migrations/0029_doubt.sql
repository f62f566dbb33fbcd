-- Doubt that people see: which orders nobody can tell about, what was tried, what a person decided; and dead letters.
--
-- A row of `doubts` stands for an attempt whose lane stands still (in_doubt), or which closes a position and cannot be
-- sent (stuck). The worker that owns the lane writes what it tried, at most every two seconds and for many orders at
-- once. A decision is a wish: the admin process writes it, and only the lane's owner carries it out, or finds that the
-- broker was faster. Both take the lock of the doubt's row before they look, so of the two one is first.

CREATE TABLE doubts (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    cl_ord_id   text NOT NULL REFERENCES orders,
    kind        text NOT NULL CHECK (kind IN ('in_doubt', 'stuck')),
    since       timestamptz NOT NULL,
    asked       integer NOT NULL DEFAULT 0 CHECK (asked >= 0),   -- how many questions, or tries to send
    asked_at    timestamptz,                              -- when the last one was
    answer      text,                                     -- what came of the last one
    decided_at  timestamptz,                              -- a person has decided
    told_at     timestamptz,                              -- when people were told that it takes long
    settled_at  timestamptz,
    PRIMARY KEY (tenant_id, cl_ord_id)
);
CREATE INDEX doubts_open ON doubts (tenant_id, since, cl_ord_id) WHERE settled_at IS NULL;

CREATE TABLE doubt_decisions (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    decision_id uuid NOT NULL,
    cl_ord_id   text NOT NULL,
    verdict     text NOT NULL CHECK (verdict IN ('absent', 'exists', 'stop')),
    again       boolean NOT NULL DEFAULT false,           -- of `absent`: another attempt, within its deadline
    broker_order_id text,
    ord_status  text CHECK (ord_status IN ('new', 'partially_filled', 'filled', 'canceled', 'expired', 'rejected')),
    cum_qty     numeric,
    avg_px      numeric,
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    decided_by  jsonb NOT NULL,                           -- tenancy.scope.Actor
    approved_by jsonb,                                    -- the second person, where four eyes are wanted
    decided_at  timestamptz NOT NULL,
    revision    bigint NOT NULL DEFAULT 1,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'carried', 'void')),
    settled_at  timestamptz,
    PRIMARY KEY (tenant_id, decision_id),
    CONSTRAINT doubt_decided_once UNIQUE (tenant_id, cl_ord_id),
    FOREIGN KEY (tenant_id, cl_ord_id) REFERENCES doubts (tenant_id, cl_ord_id),
    CHECK ((state = 'pending') = (settled_at IS NULL)),
    CHECK (verdict = 'absent' OR NOT again),
    CHECK ((verdict = 'exists') = (broker_order_id IS NOT NULL AND ord_status IS NOT NULL AND cum_qty IS NOT NULL))
);

-- The fence behind the code: what was carried out, or was void, stays so, and nobody rewrites what was decided.
CREATE FUNCTION doubt_decision_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the decision about % is % already', OLD.cl_ord_id, OLD.state;
END $$;
CREATE TRIGGER final BEFORE UPDATE ON doubt_decisions FOR EACH ROW WHEN (OLD.state <> 'pending')
    EXECUTE FUNCTION doubt_decision_is_final();

SELECT put_behind_wall('doubts', 'admin', 'worker');
SELECT put_behind_wall('doubt_decisions', 'admin', 'worker');
GRANT SELECT, UPDATE (decided_at) ON doubts TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE (kind, asked, asked_at, answer, told_at, settled_at) ON doubts TO portcullis_worker;
GRANT SELECT, INSERT ON doubt_decisions TO portcullis_admin;
GRANT SELECT, UPDATE (state, settled_at) ON doubt_decisions TO portcullis_worker;

-- ---------------------------------------------------------------------------------------------- dead letters

-- What was shown to a person before a replay: it is carried out only while it is still what would happen.
CREATE TABLE replay_previews (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    preview_id  uuid NOT NULL,
    signal_id   uuid NOT NULL,                            -- no key: its policy looks behind the wall
    accounts    uuid[] NOT NULL,
    shown       json NOT NULL,                            -- fanout.dead_letters.NewLeg, by account
    shown_to    text NOT NULL,                            -- whose credential: it is good for nobody else
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, preview_id)
);
CREATE INDEX replay_previews_old ON replay_previews (tenant_id, expires_at);

-- One row for each account of a dead letter that was replayed, for ever: the key is why none is replayed twice.
CREATE TABLE signal_replays (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    signal_id   uuid NOT NULL,                            -- the dead letter; no key, as above
    account_id  uuid NOT NULL,
    replay_id   uuid NOT NULL,                            -- the signal that was derived from it
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    by          jsonb NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, signal_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id)
);
CREATE INDEX signal_replays_of ON signal_replays (replay_id);

-- A replay is a signal of our own: a person's, for accounts that it names, with the ticker as its sender wrote it.
ALTER TABLE signals DROP CONSTRAINT signals_origin_check;
ALTER TABLE signals ADD CONSTRAINT signals_origin_check
    CHECK (origin IN ('hook', 'kill_switch', 'person', 'reconciliation', 'replay'));
CREATE POLICY admin_keeps_replays_only ON signals AS RESTRICTIVE FOR INSERT TO portcullis_admin
    WITH CHECK (tenant_id = portcullis_tenant() AND origin = 'replay' AND hook_id = '~replay' AND accounts IS NOT NULL);
GRANT INSERT ON signals TO portcullis_admin;

-- Where to look for dead letters: one row for a signal, however many orders it had. The reasons are those that pass
-- (fanout/dead_letters.py, PASSING); a page asks in the same words.
CREATE INDEX signal_outcomes_left ON signal_outcomes (tenant_id, signal_id DESC)
    WHERE done_at IS NOT NULL AND (reasons ?| ARRAY['account_halted', 'audit_halted', 'clock_untrusted', 'group_halted', 'in_doubt', 'instrument_halted',
        'no_available', 'no_equity', 'no_fx_rate', 'no_price', 'no_quote', 'not_connected', 'not_reconciled',
        'platform_halted', 'quorum_not_met', 'reduce_only', 'strategy_halted', 'tenant_halted',
        'trading_window_unknown', 'usage_unknown']
    OR (summary -> 'states' ->> 'failed') IS NOT NULL OR (summary -> 'states' ->> 'partly_filled') IS NOT NULL
    OR (summary ->> 'state') = 'refused');

SELECT put_behind_wall('replay_previews', 'admin');
SELECT put_behind_wall('signal_replays', 'admin');
-- A foreign key does not look through row-level security: these do.
CREATE POLICY of_own_signals ON replay_previews AS RESTRICTIVE FOR INSERT TO portcullis_admin
    WITH CHECK (tenant_id = portcullis_tenant() AND EXISTS (SELECT FROM signals s WHERE s.signal_id = replay_previews.signal_id));
CREATE POLICY of_own_signals ON signal_replays AS RESTRICTIVE FOR INSERT TO portcullis_admin
    WITH CHECK (tenant_id = portcullis_tenant() AND EXISTS (SELECT FROM signals s WHERE s.signal_id = signal_replays.signal_id)
            AND EXISTS (SELECT FROM signals s WHERE s.signal_id = signal_replays.replay_id));
GRANT SELECT, INSERT, DELETE ON replay_previews TO portcullis_admin;
GRANT SELECT, INSERT ON signal_replays TO portcullis_admin;
