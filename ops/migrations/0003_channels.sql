-- Notification channels: what of a tenant's audit log is told to whom, and how far each has been told.
--
-- A channel's place is an index into its tenant's log, so nothing can be skipped without being seen. Who sends
-- holds the channel's row for a while (`lease_until`) under a number (`fence`) that every claim moves: what a
-- sender writes that lost its claim changes nothing.

CREATE TABLE channels (
    channel_id  uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    kind        text NOT NULL CHECK (kind IN ('webhook', 'email')),
    enabled     boolean NOT NULL DEFAULT true,
    url         text CHECK (length(url) <= 2048),         -- of a webhook
    recipients  text[] NOT NULL DEFAULT '{}',             -- of an e-mail
    events      text[] NOT NULL DEFAULT '{}',             -- gateway.events: empty is every one
    severity    text NOT NULL DEFAULT 'all' CHECK (severity IN ('all', 'failures')),
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    UNIQUE (tenant_id, channel_id),
    CHECK ((kind = 'webhook') = (url IS NOT NULL) AND (kind = 'email') = (recipients <> '{}'))
);
CREATE UNIQUE INDEX channels_name ON channels (tenant_id, name) WHERE archived_at IS NULL;

CREATE TABLE channel_secrets (
    secret_id   uuid PRIMARY KEY,
    channel_id  uuid NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    sealed      bytea NOT NULL,                           -- hsm.envelope.SealedSecret, purpose "channel"
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,                              -- set when a newer one is made
    FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, channel_id)
);
CREATE INDEX ON channel_secrets (channel_id);

-- What the sender knows of a channel: gateway/notify/claims.py.
CREATE TABLE channel_deliveries (
    channel_id  uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    next_index  bigint NOT NULL CHECK (next_index >= 0),  -- the first leaf that was not dealt with
    state       text NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'failing', 'gone')),
    attempts    integer NOT NULL DEFAULT 0,               -- in a row that failed
    failed_since timestamptz,
    next_at     timestamptz NOT NULL DEFAULT now(), -- no attempt before it
    last_error  text,
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    fence       bigint NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, channel_id) REFERENCES channels (tenant_id, channel_id)
);
CREATE INDEX ON channel_deliveries (next_at);

-- A new channel is told what happens from now on. A changed one is tried at once, whatever it did before, and by
-- nobody who still has the old settings in hand.
CREATE FUNCTION channel_starts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO channel_deliveries (channel_id, tenant_id, next_index)
        SELECT NEW.channel_id, NEW.tenant_id, coalesce(max(v.i) + 1, 0)
        FROM audit_logs l JOIN audit_leaves v USING (log_id) WHERE l.tenant_id = NEW.tenant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER starts AFTER INSERT ON channels FOR EACH ROW EXECUTE FUNCTION channel_starts();
CREATE FUNCTION channel_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channel_deliveries SET state = 'working', attempts = 0, failed_since = NULL, next_at = now(),
            fence = fence + 1, lease_until = now()
        WHERE channel_id = NEW.channel_id;
    RETURN NULL;
END $$;
CREATE TRIGGER changed AFTER UPDATE ON channels FOR EACH ROW EXECUTE FUNCTION channel_changed();

SELECT put_behind_wall('channels', 'admin');
SELECT put_behind_wall('channel_secrets', 'admin');
SELECT put_behind_wall('channel_deliveries', 'admin');
GRANT SELECT, INSERT ON channels, channel_secrets, channel_deliveries TO portcullis_admin;
GRANT UPDATE (name, kind, enabled, url, recipients, events, severity, revision, archived_at) ON channels TO portcullis_admin;
GRANT UPDATE (expires_at) ON channel_secrets TO portcullis_admin;
GRANT UPDATE (next_index, state, attempts, failed_since, next_at, last_error, last_attempt_at, last_success_at,
              fence, lease_until) ON channel_deliveries TO portcullis_admin;

-- Channels with something to tell and nobody who is at it, longest waiting first. Ids only.
CREATE POLICY finder_sees ON channels FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON channel_deliveries FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON audit_logs FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON audit_leaves FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (channel_id, tenant_id, enabled, archived_at) ON channels TO portcullis_finder;
GRANT SELECT (channel_id, next_index, state, next_at, lease_until) ON channel_deliveries TO portcullis_finder;
GRANT SELECT (log_id, tenant_id) ON audit_logs TO portcullis_finder;
GRANT SELECT (log_id, i) ON audit_leaves TO portcullis_finder;
CREATE FUNCTION find_due_channels(most integer) RETURNS TABLE (channel_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.channel_id, c.tenant_id
          FROM channel_deliveries d JOIN channels c USING (channel_id) JOIN audit_logs l ON l.tenant_id = c.tenant_id
          WHERE c.enabled AND c.archived_at IS NULL AND d.state <> 'gone'
            AND d.next_at <= now() AND d.lease_until <= now()
            AND (SELECT max(v.i) FROM audit_leaves v WHERE v.log_id = l.log_id) >= d.next_index
          ORDER BY d.next_at, c.channel_id LIMIT most $$;
-- How many channels are in which state: for the metric.
CREATE FUNCTION count_channels() RETURNS TABLE (state text, channels bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT CASE WHEN c.enabled THEN d.state ELSE 'off' END, count(*)
          FROM channel_deliveries d JOIN channels c USING (channel_id) WHERE c.archived_at IS NULL GROUP BY 1 $$;

-- Limits on use: of a tenant's settings, ingress and the admin API's limiter see one figure each.
ALTER TABLE tenants
    ADD COLUMN signals_per_minute integer
        GENERATED ALWAYS AS ((settings ->> 'signals_per_minute')::integer) STORED CHECK (signals_per_minute > 0),
    ADD COLUMN requests_per_minute integer
        GENERATED ALWAYS AS ((settings ->> 'requests_per_minute')::integer) STORED CHECK (requests_per_minute > 0);
GRANT SELECT (signals_per_minute) ON tenants TO portcullis_ingress;
CREATE FUNCTION find_tenant_rate(wanted uuid) RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.requests_per_minute FROM tenants t WHERE t.tenant_id = wanted $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_due_channels(integer)', 'count_channels()', 'find_tenant_rate(uuid)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;

