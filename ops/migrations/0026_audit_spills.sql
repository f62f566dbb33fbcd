-- Which lines of a host's spill are in the log: written in the transaction that brings a line in, so that it comes in once.
-- (Spills: audit/spill.py. A line is an act that began while this database did not answer.)

CREATE TABLE audit_spills (
    spill_id    uuid NOT NULL,
    line        integer NOT NULL CHECK (line > 0),
    tenant_id   uuid NOT NULL REFERENCES tenants,
    drained_at  timestamptz NOT NULL,
    PRIMARY KEY (spill_id, line)
);

SELECT put_behind_wall('audit_spills', 'worker');
GRANT SELECT, INSERT ON audit_spills TO portcullis_worker;

-- Which days of which accounts were compared with the broker's own statement of fills, and how many orders differed.
CREATE TABLE statement_checks (
    account_id  uuid NOT NULL REFERENCES accounts,
    day         date NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    checked_at  timestamptz NOT NULL,
    differences integer NOT NULL CHECK (differences >= 0),
    PRIMARY KEY (account_id, day)
);
SELECT put_behind_wall('statement_checks', 'admin', 'worker');
GRANT SELECT ON statement_checks TO portcullis_admin;
GRANT SELECT, INSERT ON statement_checks TO portcullis_worker;

CREATE POLICY finder_sees ON statement_checks FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (account_id, day) ON statement_checks TO portcullis_finder;
CREATE FUNCTION find_unchecked_statements(parts smallint[], brokers text[], wanted date)
    RETURNS TABLE (account_id uuid, tenant_id uuid, broker text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT a.account_id, a.tenant_id, a.broker FROM accounts a
          WHERE a.part = ANY(parts) AND a.broker = ANY(brokers)
            AND NOT EXISTS (SELECT FROM statement_checks c WHERE c.account_id = a.account_id AND c.day = wanted)
          ORDER BY a.account_id $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
REVOKE ALL ON FUNCTION find_unchecked_statements(smallint[], text[], date) FROM PUBLIC;
ALTER FUNCTION find_unchecked_statements(smallint[], text[], date) OWNER TO portcullis_finder;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
GRANT EXECUTE ON FUNCTION find_unchecked_statements(smallint[], text[], date) TO portcullis_worker;
