-- What each broker trades, at which prices, as workers see it: for the management API, which has no broker.
--
-- One row for each broker, written anew every two seconds by whichever worker asked last. No tenant's: what an
-- exchange lists is everybody's. Losing the table loses two seconds.

CREATE TABLE broker_instruments (
    broker      text PRIMARY KEY CHECK (length(broker) BETWEEN 1 AND 40),
    as_of       timestamptz NOT NULL,             -- when the broker was asked, by this server's clock
    worker      text NOT NULL,                    -- who asked
    picture     bytea NOT NULL                    -- fanout.pictures.Picture: MessagePack, zlib
);
ALTER TABLE broker_instruments ALTER COLUMN picture SET STORAGE EXTERNAL;  -- it is compressed already

ALTER TABLE broker_instruments ENABLE ROW LEVEL SECURITY;
ALTER TABLE broker_instruments FORCE ROW LEVEL SECURITY;
CREATE POLICY everybody_sees ON broker_instruments FOR SELECT TO portcullis_admin, portcullis_worker USING (true);
CREATE POLICY workers_put ON broker_instruments FOR INSERT TO portcullis_worker WITH CHECK (true);
CREATE POLICY workers_renew ON broker_instruments FOR UPDATE TO portcullis_worker USING (true) WITH CHECK (true);
GRANT SELECT ON broker_instruments TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE ON broker_instruments TO portcullis_worker;
