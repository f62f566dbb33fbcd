-- What the signer refused becomes records: how far each daemon's journal has been read, and who may write them.

-- Journals are of the host, not of a tenant. Moved in the transaction that writes the records of the lines it passes.
CREATE TABLE hsm_journals (
    journal_id  uuid PRIMARY KEY,                 -- <state_dir>/journal-id
    daemon      text NOT NULL,
    seq         bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),   -- the last line that has its record
    moved_at    timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE hsm_journals ENABLE ROW LEVEL SECURITY;
ALTER TABLE hsm_journals FORCE ROW LEVEL SECURITY;
CREATE POLICY recorder_reads_on ON hsm_journals TO portcullis_recorder USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON hsm_journals TO portcullis_recorder;

-- Until now the recorder only took from the inbox. It is the one writer of every log already.
CREATE POLICY recorder_records ON audit_inbox FOR INSERT TO portcullis_recorder WITH CHECK (true);
GRANT INSERT ON audit_inbox TO portcullis_recorder;
GRANT EXECUTE ON FUNCTION platform_tenant() TO portcullis_recorder;
