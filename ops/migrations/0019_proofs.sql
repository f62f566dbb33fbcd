-- The life of a credential: sealed and being proven at its broker, then live, or refused.
--
-- Only a worker has a way to the broker, so only a worker makes one live: the admin process writes what it sealed as
-- `proving`, and the database takes nothing else from it. The one before stays live until that moment.

-- What is there was taken without a proof, and goes on; the next look at it is its first.
ALTER TABLE credentials
    ADD COLUMN state text NOT NULL DEFAULT 'live' CHECK (state IN ('proving', 'live', 'refused')),
    ADD COLUMN sealed_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN test_order boolean NOT NULL DEFAULT false,  -- the tenant wants one placed and cancelled
    ADD CONSTRAINT refused_is_history CHECK (state <> 'refused' OR revoked_at IS NOT NULL),
    ADD UNIQUE (tenant_id, credential_id);
ALTER TABLE credentials ALTER COLUMN state SET DEFAULT 'proving';
DROP INDEX credentials_live;
CREATE UNIQUE INDEX credentials_live ON credentials (account_id) WHERE revoked_at IS NULL AND state = 'live';
CREATE UNIQUE INDEX credentials_proving ON credentials (account_id) WHERE revoked_at IS NULL AND state = 'proving';
CREATE INDEX credentials_of_account ON credentials (account_id, credential_id DESC);

CREATE FUNCTION credential_lives_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'proving' OR OLD.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'credential % is % and stays so', OLD.credential_id, OLD.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lives_once BEFORE UPDATE ON credentials FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION credential_lives_once();
CREATE POLICY admin_seals_only ON credentials AS RESTRICTIVE FOR INSERT TO portcullis_admin
    WITH CHECK (tenant_id = portcullis_tenant() AND state = 'proving');
GRANT UPDATE (state, revoked_at, revision) ON credentials TO portcullis_worker;
GRANT UPDATE (version) ON strategies TO portcullis_worker;  -- a plan must notice the new one, as it does any change

-- What the broker said of a credential last. Apart from `credentials`: an answer that is no news moves no strategy's version.
CREATE TABLE credential_proofs (
    credential_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    code        text NOT NULL CHECK (length(code) <= 50),  -- '': proven; else why not (fanout.proof.Code)
    words       text NOT NULL DEFAULT '',
    scopes      text[] NOT NULL DEFAULT '{}',              -- what the key may do, in the broker's words
    checks      text[] NOT NULL DEFAULT '{}',              -- what was asked
    broker_user text,                                      -- whose key it is, as the broker counts
    proved_at   timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,                      -- when it is asked again, while it is live
    FOREIGN KEY (tenant_id, credential_id) REFERENCES credentials (tenant_id, credential_id)
);
SELECT put_behind_wall('credential_proofs', 'admin', 'worker');
GRANT SELECT ON credential_proofs TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE ON credential_proofs TO portcullis_worker;

-- A worker ends the credential that another takes the place of, and makes an account stricter whose key became
-- dangerous. Both are changes like any other and leave a revision; it can make nothing else, and nothing looser.
DROP POLICY one_tenant ON revisions;
SELECT put_behind_wall('revisions', 'admin', 'worker');
CREATE POLICY worker_revises_keys_only ON revisions AS RESTRICTIVE FOR INSERT TO portcullis_worker
    WITH CHECK (tenant_id = portcullis_tenant() AND kind IN ('credential', 'account') AND actor ->> 'id' = 'prover');
GRANT INSERT ON revisions TO portcullis_worker;
GRANT UPDATE (state, revision) ON accounts TO portcullis_worker;
CREATE FUNCTION worker_stops_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'portcullis_worker' AND
       array_position(ARRAY['active', 'reducing', 'halted'], NEW.state)
       <= array_position(ARRAY['active', 'reducing', 'halted'], OLD.state) THEN
        RAISE EXCEPTION 'a worker makes an account stricter, and nothing else';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stops_only BEFORE UPDATE OF state, revision ON accounts FOR EACH ROW EXECUTE FUNCTION worker_stops_only();

-- ---------------------------------------------------------------------------------------------- finders

CREATE POLICY finder_sees ON credentials FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON credential_proofs FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (credential_id, tenant_id, account_id, state, revoked_at) ON credentials TO portcullis_finder;
GRANT SELECT (credential_id, due_at) ON credential_proofs TO portcullis_finder;

-- Credentials that wait for a proof, in these partitions, whether their accounts are halted or not.
CREATE FUNCTION find_unproven(parts smallint[], but uuid[], most integer)
    RETURNS TABLE (credential_id uuid, tenant_id uuid, part smallint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.credential_id, c.tenant_id, a.part FROM credentials c JOIN accounts a USING (account_id)
          WHERE c.state = 'proving' AND c.revoked_at IS NULL AND a.part = ANY(parts) AND NOT c.credential_id = ANY(but)
          ORDER BY c.credential_id LIMIT most $$;
-- Live ones that are to be asked about again; those that never were come first.
CREATE FUNCTION find_due_proofs(parts smallint[], but uuid[], most integer, at timestamptz)
    RETURNS TABLE (credential_id uuid, tenant_id uuid, part smallint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.credential_id, c.tenant_id, a.part FROM credentials c JOIN accounts a USING (account_id)
          LEFT JOIN credential_proofs p USING (credential_id)
          WHERE c.state = 'live' AND c.revoked_at IS NULL AND a.part = ANY(parts) AND NOT c.credential_id = ANY(but)
            AND (p.due_at IS NULL OR p.due_at <= at)
          ORDER BY p.due_at NULLS FIRST, c.credential_id LIMIT most $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_unproven(smallint[], uuid[], integer)',
                             'find_due_proofs(smallint[], uuid[], integer, timestamptz)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_worker', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
