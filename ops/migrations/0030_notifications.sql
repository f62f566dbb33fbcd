-- Notifications for people: digests, Slack-style channels whose address is their secret, and Web Push to a person's
-- own devices.
--
-- Only widens: a process of the version before goes on with what it knows. Its finder gives it channels of the kinds
-- and severities that it can serve, and the new one (find_due_notifications) gives everything to the new processes.

ALTER TABLE channels DROP CONSTRAINT channels_kind_check;
ALTER TABLE channels ADD CONSTRAINT channels_kind_check CHECK (kind IN ('webhook', 'email', 'slack'));
ALTER TABLE channels DROP CONSTRAINT channels_severity_check;
ALTER TABLE channels ADD CONSTRAINT channels_severity_check CHECK (severity IN ('all', 'failures', 'digest'));
ALTER TABLE channels ADD COLUMN digest_minutes integer NOT NULL DEFAULT 60 CHECK (digest_minutes BETWEEN 5 AND 1440);
GRANT UPDATE (digest_minutes) ON channels TO portcullis_admin;

-- With which key a tenant says to a push service who it is (VAPID, RFC 8292). A browser's subscription is bound to one
-- key for good, so a key that was replaced lives on for the devices that were subscribed under it.
CREATE TABLE push_keys (
    key_id      uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    public_key  bytea NOT NULL CHECK (length(public_key) = 65),    -- the point, uncompressed
    sealed      bytea NOT NULL,                           -- hsm.envelope.SealedSecret, purpose "channel": the private half
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, key_id)
);

-- A browser of a person who wants to be told there, and how far it has been: as channels and channel_deliveries are
-- for a tenant (gateway/notify/claims.py). What it may hear is asked of the person's roles at each turn.
CREATE TABLE push_devices (
    device_id   uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    person_id   uuid NOT NULL,
    key_id      uuid NOT NULL,
    endpoint    text NOT NULL CHECK (length(endpoint) <= 1024),
    p256dh      bytea NOT NULL CHECK (length(p256dh) = 65),
    auth        bytea NOT NULL CHECK (length(auth) = 16),
    label       text NOT NULL CHECK (length(label) BETWEEN 1 AND 100),
    language    text NOT NULL CHECK (language IN ('en', 'zh_Hant')),
    events      text[] NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('all', 'failures', 'digest')),
    digest_minutes integer NOT NULL CHECK (digest_minutes BETWEEN 5 AND 1440),
    second_factor boolean NOT NULL,                       -- the person had shown one when it was subscribed
    created_at  timestamptz NOT NULL DEFAULT now(),
    next_index  bigint NOT NULL DEFAULT 0 CHECK (next_index >= 0),
    state       text NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'failing')),
    attempts    integer NOT NULL DEFAULT 0,
    failed_since timestamptz,
    next_at     timestamptz NOT NULL DEFAULT now(),
    last_error  text,
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    fence       bigint NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT push_devices_endpoint UNIQUE (tenant_id, endpoint),
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, person_id),
    FOREIGN KEY (tenant_id, key_id) REFERENCES push_keys (tenant_id, key_id)
);
CREATE INDEX push_devices_person ON push_devices (person_id);
CREATE INDEX push_devices_key ON push_devices (key_id);
CREATE INDEX push_devices_due ON push_devices (next_at);

-- A new device is told what happens from now on.
CREATE FUNCTION push_device_starts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT coalesce(max(v.i) + 1, 0) INTO NEW.next_index
        FROM audit_logs l JOIN audit_leaves v USING (log_id)
        WHERE l.tenant_id = NEW.tenant_id AND l.kind = 'records';
    RETURN NEW;
END $$;
CREATE TRIGGER starts BEFORE INSERT ON push_devices FOR EACH ROW EXECUTE FUNCTION push_device_starts();

-- Whoever is disabled, leaves, or lost what they come in with has no device any more, whichever way it came about.
CREATE FUNCTION push_devices_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM push_devices WHERE person_id = NEW.person_id;
    RETURN NULL;
END $$;
CREATE TRIGGER devices_end AFTER UPDATE ON people FOR EACH ROW
    WHEN (NEW.disabled AND NOT OLD.disabled OR NEW.archived_at IS NOT NULL AND OLD.archived_at IS NULL
          OR OLD.factors_reset_at IS DISTINCT FROM NEW.factors_reset_at
          OR OLD.password_reset_at IS DISTINCT FROM NEW.password_reset_at)
    EXECUTE FUNCTION push_devices_end();

SELECT put_behind_wall('push_keys', 'admin');
SELECT put_behind_wall('push_devices', 'admin');
GRANT SELECT, INSERT, DELETE ON push_keys, push_devices TO portcullis_admin;
GRANT UPDATE (sealed) ON push_keys TO portcullis_admin;
GRANT UPDATE (key_id, p256dh, auth, label, language, events, severity, digest_minutes, second_factor, next_index, state,
              attempts, failed_since, next_at, last_error, last_attempt_at, last_success_at, fence, lease_until)
    ON push_devices TO portcullis_admin;

-- What a process of the version before is given: what it knows how to serve.
CREATE OR REPLACE FUNCTION find_due_channels(most integer) RETURNS TABLE (channel_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.channel_id, c.tenant_id
          FROM channel_deliveries d JOIN channels c USING (channel_id)
          JOIN audit_logs l ON l.tenant_id = c.tenant_id AND l.kind = 'records'
          WHERE c.enabled AND c.archived_at IS NULL AND d.state <> 'gone'
            AND c.kind IN ('webhook', 'email') AND c.severity IN ('all', 'failures')
            AND d.next_at <= now() AND d.lease_until <= now()
            AND (SELECT max(v.i) FROM audit_leaves v WHERE v.log_id = l.log_id) >= d.next_index
          ORDER BY d.next_at, c.channel_id LIMIT most $$;

-- Channels and devices with something to tell and nobody who is at them, longest waiting first. Ids only.
CREATE POLICY finder_sees ON push_devices FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (device_id, tenant_id, next_index, state, next_at, lease_until) ON push_devices TO portcullis_finder;
GRANT SELECT (kind, severity) ON channels TO portcullis_finder;
CREATE FUNCTION find_due_notifications(most integer) RETURNS TABLE (source text, target_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT due.source, due.target_id, due.tenant_id FROM (
              SELECT 'channel' AS source, c.channel_id AS target_id, c.tenant_id, d.next_at, d.next_index
              FROM channel_deliveries d JOIN channels c USING (channel_id)
              WHERE c.enabled AND c.archived_at IS NULL AND d.state <> 'gone'
                AND d.next_at <= now() AND d.lease_until <= now()
              UNION ALL
              SELECT 'device', p.device_id, p.tenant_id, p.next_at, p.next_index
              FROM push_devices p WHERE p.next_at <= now() AND p.lease_until <= now()) due
          JOIN audit_logs l ON l.tenant_id = due.tenant_id AND l.kind = 'records'
          WHERE (SELECT max(v.i) FROM audit_leaves v WHERE v.log_id = l.log_id) >= due.next_index
          ORDER BY due.next_at, due.target_id LIMIT most $$;
-- How many devices are in which state: for the metric.
CREATE FUNCTION count_push_devices() RETURNS TABLE (state text, devices bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT p.state, count(*) FROM push_devices p GROUP BY 1 $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_due_notifications(integer)', 'count_push_devices()'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
