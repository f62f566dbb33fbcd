-- A person takes back a signal that nobody has planned yet: most often one that waits for its time.

ALTER TABLE signals DROP CONSTRAINT signals_state_check;
ALTER TABLE signals ADD CONSTRAINT signals_state_check
    CHECK (state IN ('accepted', 'planned', 'refused', 'canceled'));
GRANT UPDATE (state) ON signals TO portcullis_admin;
