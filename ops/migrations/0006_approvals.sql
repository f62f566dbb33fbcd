-- Signals by approval: one account's part of one signal, and a person's yes or no to it.
--
-- A row is written with the plan that asks. A yes puts its part back into plan_parts, marked `approved`: whoever
-- owns the part writes the intents of exactly the approved rows, and `carried_at`, in one transaction.

CREATE TABLE signal_approvals (
    signal_id   uuid NOT NULL REFERENCES plans,
    account_id  uuid NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL,
    subscription_id uuid NOT NULL,                -- no key: it may be deleted, which makes the yes void
    part        smallint NOT NULL,                -- of the account
    state       text NOT NULL DEFAULT 'pending'
                CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'void')),
    entry       json NOT NULL,                    -- fanout.plan.PlanEntry: what would be sent, to the letter
    open_for    interval NOT NULL,                -- how long after the yes a position may be opened
    traceparent text NOT NULL,                    -- of the signal
    asked_at    timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    decided_at  timestamptz,
    decided_by  jsonb,                            -- tenancy.scope.Actor; NULL where nobody decided
    comment     text NOT NULL DEFAULT '' CHECK (length(comment) <= 1000),
    why         text,                             -- of `void`: fanout.reasons.Reason or fanout.consent.Void
    carried_at  timestamptz,                      -- its intents were written
    PRIMARY KEY (signal_id, account_id),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((state = 'void') = (why IS NOT NULL)),
    CHECK (carried_at IS NULL OR state = 'approved')
);
CREATE INDEX signal_approvals_of_tenant ON signal_approvals (tenant_id, signal_id DESC);
CREATE INDEX signal_approvals_pending ON signal_approvals (part, expires_at) WHERE state = 'pending';

-- The fence behind the code: no answer is given twice, and what was carried out stays so.
CREATE FUNCTION approval_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.carried_at IS NOT NULL OR
       NEW.state <> OLD.state AND NOT (OLD.state = 'pending' OR OLD.state = 'approved' AND NEW.state = 'void') THEN
        RAISE EXCEPTION 'approval of signal % for account %: % cannot become %',
            OLD.signal_id, OLD.account_id, OLD.state, NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER moves BEFORE UPDATE ON signal_approvals FOR EACH ROW EXECUTE FUNCTION approval_moves();

ALTER TABLE plan_parts ADD COLUMN approved boolean NOT NULL DEFAULT false;  -- only what was approved, or all else
ALTER TABLE plan_parts DROP CONSTRAINT plan_parts_pkey, ADD PRIMARY KEY (part, signal_id, approved);

SELECT put_behind_wall('signal_approvals', 'admin', 'worker');
CREATE POLICY approvals_put_back ON plan_parts FOR INSERT TO portcullis_admin
    WITH CHECK (approved AND tenant_id = portcullis_tenant());
GRANT INSERT ON plan_parts TO portcullis_admin;
GRANT SELECT ON signal_approvals TO portcullis_admin, portcullis_worker;
GRANT UPDATE (state, decided_at, decided_by, comment, why) ON signal_approvals TO portcullis_admin;
GRANT INSERT, UPDATE (state, decided_at, why, carried_at) ON signal_approvals TO portcullis_worker;

-- Whose questions are over: ids only.
CREATE POLICY finder_sees ON signal_approvals FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (tenant_id, part, state, expires_at) ON signal_approvals TO portcullis_finder;
CREATE FUNCTION find_due_approvals(parts smallint[], at timestamptz) RETURNS TABLE (tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT DISTINCT a.tenant_id FROM signal_approvals a
          WHERE a.state = 'pending' AND a.part = ANY(parts) AND a.expires_at <= at $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
REVOKE ALL ON FUNCTION find_due_approvals(smallint[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_due_approvals(smallint[], timestamptz) TO portcullis_worker;
ALTER FUNCTION find_due_approvals(smallint[], timestamptz) OWNER TO portcullis_finder;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
