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
