-- How far the continuous check of each audit log has come, and what it found last (audit/checker.py).
--
-- Not evidence: a lost or a forged row costs a round, for every round begins at index 0 again. `state` is what has been
-- computed from the leaves so far, as JSON: the tree's right edge, and the largest checkpoints that were seen.
CREATE TABLE audit_checks (
    log_id      uuid PRIMARY KEY REFERENCES audit_logs,
    next_index  bigint NOT NULL CHECK (next_index >= 0),
    state       jsonb NOT NULL,
    rounds      bigint NOT NULL DEFAULT 0,        -- finished
    round_at    timestamptz,                      -- when the last one was
    found_index bigint,                           -- the first index that differs, while one does
    found       text,                             -- where, and how
    found_at    timestamptz,
    moved_at    timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE audit_checks ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_checks FORCE ROW LEVEL SECURITY;
CREATE POLICY recorder_checks ON audit_checks TO portcullis_recorder USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON audit_checks TO portcullis_recorder;
