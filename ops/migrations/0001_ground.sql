-- The ground: who may connect, whose rows they may see, and the tables of the main job.
--
-- The wall between tenants is row-level security, forced in every table, by the transaction-local setting
-- portcullis.tenant_id. Roles own nothing; portcullis_owner owns everything and is used by `portcullis migrate` alone.
--
--   portcullis_admin     people's and operators' changes, one tenant at a time
--   portcullis_ingress   reads hooks, inserts signals and audit records of any tenant, reads back only what decides a repeat
--   portcullis_worker    plans and orders, one tenant at a time; finds its work through the two functions at the end
--   portcullis_recorder  turns the audit inbox into leaves
--   portcullis_finder    nobody's login: owns the functions that look across tenants and return ids only

-- The migrator creates the roles (they are cluster-wide) before this file runs: see ops/migrate.py.

CREATE FUNCTION portcullis_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('portcullis.tenant_id', true), '')::uuid $$;

-- ---------------------------------------------------------------------------------------------- customers

CREATE TABLE tenants (
    tenant_id   uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'reducing', 'halted')),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE service_keys (
    key_id      text PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);

CREATE TABLE strategies (
    strategy_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    asset_class text NOT NULL DEFAULT 'crypto' CHECK (asset_class IN ('crypto', 'stock', 'future', 'option')),
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'reducing', 'halted')),
    sequence    text NOT NULL DEFAULT 'rotate' CHECK (sequence IN ('rotate', 'random', 'fixed')),
    defaults    jsonb NOT NULL DEFAULT '{}',      -- tenancy.strategy.Defaults
    part        smallint NOT NULL,                -- the worker that owns this partition plans its signals
    version     bigint NOT NULL DEFAULT 1,        -- grows with every change that a plan could notice
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE hooks (
    hook_id     text PRIMARY KEY CHECK (hook_id ~ '^[0-9A-Za-z_-]{22,64}$'),
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL REFERENCES strategies,
    sender      text NOT NULL DEFAULT 'standard_webhooks' CHECK (sender IN ('standard_webhooks', 'tradingview')),
    enabled     boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE hook_secrets (
    secret_id   uuid PRIMARY KEY,
    hook_id     text NOT NULL REFERENCES hooks,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    scheme      text NOT NULL CHECK (scheme IN ('v1', 'v1a')),
    sealed      bytea,                            -- v1: hsm.envelope.SealedSecret, opened by the signer for ingress
    public_key  bytea CHECK (length(public_key) = 32),   -- v1a
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz,
    CHECK ((scheme = 'v1') = (sealed IS NOT NULL) AND (scheme = 'v1a') = (public_key IS NOT NULL))
);
CREATE INDEX ON hook_secrets (hook_id);

CREATE TABLE accounts (
    account_id  uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    broker      text NOT NULL,                    -- a folder of fanout/brokers
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3,5}$'),
    stated_equity numeric CHECK (stated_equity > 0),
    leverage    numeric NOT NULL DEFAULT 1 CHECK (leverage > 0),
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'reducing', 'halted')),
    settings    jsonb NOT NULL DEFAULT '{}',      -- read by the broker's own settings.py
    part        smallint NOT NULL,                -- lanes live in partitions, partitions are leased
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE credentials (
    credential_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    account_id  uuid NOT NULL REFERENCES accounts,
    broker      text NOT NULL,
    api_key     text NOT NULL,                    -- the public half, as the broker names it
    sealed      bytea NOT NULL,                   -- hsm.envelope.SealedKey: wrapped key, KEK version, row MAC
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
CREATE UNIQUE INDEX credentials_live ON credentials (account_id) WHERE revoked_at IS NULL;

CREATE TABLE subscriptions (
    subscription_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL REFERENCES strategies,
    account_id  uuid NOT NULL REFERENCES accounts,
    enabled     boolean NOT NULL DEFAULT true,
    priority    integer NOT NULL DEFAULT 0,
    settings    jsonb NOT NULL DEFAULT '{}',      -- tenancy.subscription.SubscriptionSettings
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (strategy_id, account_id)
);
CREATE INDEX ON subscriptions (account_id);

-- A plan names the version of the settings it used: whatever a plan could notice moves the number.
CREATE FUNCTION strategy_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'subscriptions' THEN
        UPDATE strategies SET version = version + 1 WHERE strategy_id = coalesce(NEW.strategy_id, OLD.strategy_id);
    ELSE
        UPDATE strategies SET version = version + 1 WHERE strategy_id IN
            (SELECT strategy_id FROM subscriptions WHERE account_id = coalesce(NEW.account_id, OLD.account_id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER moved AFTER INSERT OR UPDATE OR DELETE ON subscriptions FOR EACH ROW EXECUTE FUNCTION strategy_changed();
CREATE TRIGGER moved AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION strategy_changed();
CREATE TRIGGER moved AFTER INSERT OR UPDATE ON credentials FOR EACH ROW EXECUTE FUNCTION strategy_changed();

CREATE FUNCTION strategy_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.version := OLD.version + 1; RETURN NEW; END $$;
CREATE TRIGGER moved BEFORE UPDATE ON strategies FOR EACH ROW EXECUTE FUNCTION strategy_version();

-- ---------------------------------------------------------------------------------------------- signals to orders

CREATE TABLE signals (
    signal_id   uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL,
    hook_id     text NOT NULL,
    message_id  text NOT NULL CHECK (length(message_id) BETWEEN 1 AND 256),
    part        smallint NOT NULL,                -- of the strategy
    body        bytea NOT NULL,                   -- as received, byte for byte
    body_sha256 bytea NOT NULL CHECK (length(body_sha256) = 32),
    traceparent text NOT NULL,                    -- W3C Trace Context
    received_at timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'accepted' CHECK (state IN ('accepted', 'planned', 'refused')),
    UNIQUE (hook_id, message_id)
);
CREATE INDEX signals_accepted ON signals (part, received_at) WHERE state = 'accepted';
CREATE INDEX signals_of_tenant ON signals (tenant_id, signal_id DESC);

CREATE TABLE plans (
    signal_id   uuid PRIMARY KEY REFERENCES signals,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL,
    version     bigint NOT NULL,                  -- of the strategy's settings
    seed        bigint NOT NULL,
    rotation    bigint NOT NULL,                  -- how many plans this strategy had before: fanout/sequence.py
    plan        json NOT NULL,                    -- fanout.plan.Plan; json, not jsonb: the bytes stay as written
    planned_at  timestamptz NOT NULL,
    UNIQUE (strategy_id, rotation)                -- two planners of one strategy cannot both commit
);

-- What of a plan has no intents yet, one row for each partition that has accounts in it; ids only.
CREATE TABLE plan_parts (
    signal_id   uuid NOT NULL REFERENCES plans,
    part        smallint NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    strategy_id uuid NOT NULL,                    -- its next signal is planned when this one's orders are in the book
    planned_at  timestamptz NOT NULL,
    PRIMARY KEY (part, signal_id)
);
CREATE INDEX ON plan_parts (strategy_id);

CREATE TABLE orders (
    cl_ord_id   text PRIMARY KEY,                 -- FIX 11: order_id, '.', attempt
    order_id    text NOT NULL,                    -- one per (signal, account, leg): fanout.order.order_id
    tenant_id   uuid NOT NULL REFERENCES tenants,
    signal_id   uuid NOT NULL REFERENCES signals,
    strategy_id uuid NOT NULL,
    account_id  uuid NOT NULL REFERENCES accounts,
    part        smallint NOT NULL,
    leg         smallint NOT NULL,
    attempt     smallint NOT NULL,
    place       integer NOT NULL,                 -- in the signal's fan-out order, from 0
    broker      text NOT NULL,
    symbol      text NOT NULL,                    -- as the broker names it
    side        text NOT NULL CHECK (side IN ('buy', 'sell')),
    order_qty   numeric NOT NULL CHECK (order_qty > 0),      -- whole lots of the instrument
    ord_type    text NOT NULL,
    price       numeric,
    time_in_force text NOT NULL,
    reduce_only boolean NOT NULL DEFAULT false,
    deadline    timestamptz NOT NULL,             -- no attempt begins after it
    state       text NOT NULL CHECK (state IN ('waiting', 'intent', 'new', 'partially_filled', 'filled', 'canceled',
                                              'expired', 'rejected', 'unsent', 'absent', 'in_doubt', 'denied')),
    epoch       bigint NOT NULL,                  -- of the lease under which the intent was written
    broker_order_id text,
    cum_qty     numeric NOT NULL DEFAULT 0,
    avg_px      numeric,
    text        text,                             -- FIX 58: the broker's own words, or ours
    intent_at   timestamptz NOT NULL,
    sent_at     timestamptz,
    acked_at    timestamptz,
    done_at     timestamptz,
    cancel_requested_at timestamptz,              -- durable wish: whoever owns the lane cancels it
    traceparent text NOT NULL,
    UNIQUE (signal_id, account_id, leg, attempt)
);
CREATE INDEX orders_open ON orders (part) WHERE state IN ('waiting', 'intent', 'new', 'partially_filled', 'in_doubt');
CREATE INDEX orders_of_strategy ON orders (strategy_id)
    WHERE state IN ('waiting', 'intent', 'new', 'partially_filled', 'in_doubt');
CREATE INDEX orders_of_account ON orders (account_id, intent_at DESC);

CREATE TABLE execution_reports (
    exec_id     text NOT NULL,                    -- FIX 17: the broker's, or cl_ord_id ':' cum_qty where it gives none
    cl_ord_id   text NOT NULL REFERENCES orders,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    account_id  uuid NOT NULL,
    exec_type   text NOT NULL,                    -- FIX 150, in words
    ord_status  text NOT NULL,                    -- FIX 39, in words
    last_qty    numeric,
    last_px     numeric,
    cum_qty     numeric NOT NULL,
    at          timestamptz NOT NULL,
    raw         text,                             -- the broker's bytes
    PRIMARY KEY (cl_ord_id, exec_id)
);

-- Folded from fills, per strategy: two strategies may share an account.
CREATE TABLE positions (
    account_id  uuid NOT NULL REFERENCES accounts,
    strategy_id uuid NOT NULL,
    symbol      text NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    qty         numeric NOT NULL,                 -- signed lots
    avg_px      numeric,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, strategy_id, symbol)
);

CREATE TABLE balances (
    account_id  uuid PRIMARY KEY REFERENCES accounts,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    equity      numeric NOT NULL,
    available   numeric NOT NULL,
    currency    text NOT NULL,
    as_of       timestamptz NOT NULL
);

-- Who may trade which partition: fanout/lanes.py.
CREATE TABLE workers (
    worker_id   text PRIMARY KEY,
    seen_at     timestamptz NOT NULL
);
CREATE TABLE leases (
    part        smallint PRIMARY KEY,
    holder      text,
    epoch       bigint NOT NULL DEFAULT 0,
    expires_at  timestamptz NOT NULL DEFAULT '-infinity'
);
-- Sixteen partitions: enough for any number of workers one pair of hosts runs, few enough to lease in one statement.
INSERT INTO leases (part) SELECT generate_series(0, 15);

-- ---------------------------------------------------------------------------------------------- audit

CREATE TABLE audit_logs (
    log_id      uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL UNIQUE REFERENCES tenants,
    origin      text NOT NULL UNIQUE,             -- carries a random id, never the tenant's name
    key_label   text NOT NULL,                    -- of the Ed25519 key in the HSM
    public_key  bytea NOT NULL CHECK (length(public_key) = 32),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_inbox (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    kind        text NOT NULL,
    ts          bigint NOT NULL,                  -- when it happened, Unix ns
    oid         text,                             -- orders.order_id
    acct        text,                             -- pseudonym
    act         text NOT NULL,                    -- who, JSON
    cor         text,                             -- trace id
    cls         text NOT NULL,                    -- retention class
    pc          bytea NOT NULL CHECK (length(pc) = 32),
    payload     bytea NOT NULL
);

CREATE TABLE audit_leaves (
    log_id      uuid NOT NULL REFERENCES audit_logs,
    i           bigint NOT NULL CHECK (i >= 0),
    tenant_id   uuid NOT NULL,
    oid         text,
    leaf        bytea NOT NULL,
    leaf_hash   bytea NOT NULL CHECK (length(leaf_hash) = 32),
    PRIMARY KEY (log_id, i)
);
CREATE INDEX audit_leaves_of_order ON audit_leaves (log_id, oid, i) WHERE oid IS NOT NULL;

-- Not write-once: erasing a payload erases the opening of its commitment too, while every proof still verifies.
CREATE TABLE audit_payloads (
    log_id      uuid NOT NULL,
    i           bigint NOT NULL,
    tenant_id   uuid NOT NULL,
    payload     bytea NOT NULL,
    PRIMARY KEY (log_id, i)
);

-- The last record of each order's story: its number within the order and its leaf hash.
CREATE TABLE audit_order_heads (
    log_id      uuid NOT NULL,
    oid         text NOT NULL,
    tenant_id   uuid NOT NULL,
    n           integer NOT NULL,
    leaf_hash   bytea NOT NULL,
    PRIMARY KEY (log_id, oid)
);

CREATE TABLE audit_checkpoints (
    log_id      uuid NOT NULL REFERENCES audit_logs,
    size        bigint NOT NULL CHECK (size > 0),
    tenant_id   uuid NOT NULL,
    root        bytea NOT NULL CHECK (length(root) = 32),
    note        text NOT NULL,
    signed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log_id, size)
);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP; END $$;
CREATE TRIGGER fence BEFORE UPDATE OR DELETE ON audit_leaves FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER fence_all BEFORE TRUNCATE ON audit_leaves FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER fence BEFORE UPDATE OR DELETE ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER fence_all BEFORE TRUNCATE ON audit_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
ALTER TABLE audit_leaves ENABLE ALWAYS TRIGGER fence;
ALTER TABLE audit_leaves ENABLE ALWAYS TRIGGER fence_all;
ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER fence;
ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER fence_all;

-- ---------------------------------------------------------------------------------------------- the wall

DO $$
DECLARE t text;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    END LOOP;
    -- One tenant at a time, for people and for workers.
    FOR t IN SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'tenant_id'
             AND table_name NOT IN ('plan_parts', 'audit_inbox') LOOP
        EXECUTE format('CREATE POLICY one_tenant ON %I TO portcullis_admin, portcullis_worker
                        USING (tenant_id = portcullis_tenant()) WITH CHECK (tenant_id = portcullis_tenant())', t);
    END LOOP;
END $$;

CREATE POLICY one_tenant ON audit_inbox FOR INSERT TO portcullis_admin, portcullis_worker
    WITH CHECK (tenant_id = portcullis_tenant());
CREATE POLICY ids_only ON plan_parts TO portcullis_worker USING (true) WITH CHECK (true);
CREATE POLICY workers_only ON workers TO portcullis_worker USING (true) WITH CHECK (true);
CREATE POLICY workers_only ON leases TO portcullis_worker USING (true) WITH CHECK (true);

GRANT SELECT ON tenants TO portcullis_admin, portcullis_worker;
GRANT INSERT ON tenants TO portcullis_admin;
GRANT UPDATE (name, state) ON tenants TO portcullis_admin;
GRANT SELECT, INSERT ON strategies, hooks, hook_secrets, accounts, credentials, subscriptions, service_keys, audit_logs
    TO portcullis_admin;
GRANT UPDATE ON strategies, accounts, subscriptions TO portcullis_admin;
GRANT UPDATE (enabled) ON hooks TO portcullis_admin;
GRANT UPDATE (expires_at, revoked_at) ON hook_secrets TO portcullis_admin;
GRANT UPDATE (revoked_at) ON credentials, service_keys TO portcullis_admin;
GRANT SELECT ON signals, plans, orders, execution_reports, positions, balances,
    audit_leaves, audit_payloads, audit_order_heads, audit_checkpoints TO portcullis_admin;

GRANT SELECT ON strategies, accounts, credentials, subscriptions TO portcullis_worker;
GRANT SELECT ON signals TO portcullis_worker;
GRANT UPDATE (state) ON signals TO portcullis_worker;
GRANT SELECT, INSERT ON plans, execution_reports TO portcullis_worker;
GRANT SELECT, INSERT, DELETE ON plan_parts TO portcullis_worker;
GRANT SELECT, INSERT, UPDATE ON orders, positions, balances, leases TO portcullis_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO portcullis_worker;

GRANT INSERT ON audit_inbox TO portcullis_admin, portcullis_worker, portcullis_ingress;

-- Ingress: reads hooks of all tenants, writes signals of all tenants, reads back what decides whether a message is a repeat.
CREATE POLICY ingress_reads ON hooks FOR SELECT TO portcullis_ingress USING (true);
CREATE POLICY ingress_reads ON hook_secrets FOR SELECT TO portcullis_ingress USING (true);
CREATE POLICY ingress_reads ON strategies FOR SELECT TO portcullis_ingress USING (true);
CREATE POLICY ingress_reads ON tenants FOR SELECT TO portcullis_ingress USING (true);
CREATE POLICY ingress_keeps ON signals FOR INSERT TO portcullis_ingress WITH CHECK (true);
CREATE POLICY ingress_compares ON signals FOR SELECT TO portcullis_ingress USING (true);
CREATE POLICY ingress_records ON audit_inbox FOR INSERT TO portcullis_ingress WITH CHECK (true);
GRANT SELECT ON hooks, hook_secrets TO portcullis_ingress;
GRANT SELECT (strategy_id, tenant_id, part, state) ON strategies TO portcullis_ingress;
GRANT SELECT (tenant_id, state) ON tenants TO portcullis_ingress;
GRANT INSERT ON signals TO portcullis_ingress;
GRANT SELECT (signal_id, hook_id, message_id, body_sha256, traceparent) ON signals TO portcullis_ingress;

-- The recorder: from inbox to leaves, for every log.
CREATE POLICY recorder_takes ON audit_inbox TO portcullis_recorder USING (true);
CREATE POLICY recorder_reads ON audit_logs FOR SELECT TO portcullis_recorder USING (true);
CREATE POLICY recorder_writes ON audit_leaves TO portcullis_recorder USING (true) WITH CHECK (true);
CREATE POLICY recorder_writes ON audit_payloads TO portcullis_recorder USING (true) WITH CHECK (true);
CREATE POLICY recorder_writes ON audit_order_heads TO portcullis_recorder USING (true) WITH CHECK (true);
CREATE POLICY recorder_writes ON audit_checkpoints TO portcullis_recorder USING (true) WITH CHECK (true);
GRANT SELECT, DELETE ON audit_inbox TO portcullis_recorder;
GRANT SELECT ON audit_logs TO portcullis_recorder;
GRANT SELECT, INSERT ON audit_leaves, audit_payloads, audit_checkpoints TO portcullis_recorder;
GRANT SELECT, INSERT, UPDATE ON audit_order_heads TO portcullis_recorder;

-- Looking across tenants: ids only, through functions owned by a role that nobody can log in as.
CREATE POLICY finder_sees ON signals FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON orders FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON service_keys FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON accounts FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (signal_id, tenant_id, strategy_id, part, state, received_at) ON signals TO portcullis_finder;
GRANT SELECT (cl_ord_id, tenant_id, part, state) ON orders TO portcullis_finder;
GRANT SELECT (account_id, tenant_id, part, broker, state) ON accounts TO portcullis_finder;
GRANT SELECT ON service_keys TO portcullis_finder;
GRANT EXECUTE ON FUNCTION portcullis_tenant() TO PUBLIC;

-- Signals without a plan, oldest first, at most so many of each strategy: none starves another.
CREATE FUNCTION find_accepted_signals(parts smallint[], most integer)
    RETURNS TABLE (signal_id uuid, tenant_id uuid, strategy_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS $$ SELECT f.signal_id, f.tenant_id, f.strategy_id FROM (
              SELECT s.signal_id, s.tenant_id, s.strategy_id, s.received_at, row_number() OVER
                     (PARTITION BY s.strategy_id ORDER BY s.received_at, s.signal_id) AS n
              FROM signals s WHERE s.state = 'accepted' AND s.part = ANY(parts)) AS f
          WHERE f.n <= most ORDER BY f.received_at, f.signal_id $$;
-- Orders that are not final.
CREATE FUNCTION find_open_orders(parts smallint[])
    RETURNS TABLE (cl_ord_id text, tenant_id uuid, state text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS $$ SELECT o.cl_ord_id, o.tenant_id, o.state FROM orders o
          WHERE o.state IN ('waiting', 'intent', 'new', 'partially_filled', 'in_doubt') AND o.part = ANY(parts) $$;
-- Accounts whose balance a worker keeps fresh.
CREATE FUNCTION find_accounts(parts smallint[])
    RETURNS TABLE (account_id uuid, tenant_id uuid, broker text) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS $$ SELECT a.account_id, a.tenant_id, a.broker FROM accounts a WHERE a.part = ANY(parts) AND a.state <> 'halted' $$;
-- Authentication comes before tenancy: the one look-up that starts from a key's public id.
CREATE FUNCTION find_service_key(wanted text)
    RETURNS TABLE (tenant_id uuid, name text, secret_sha256 bytea) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS $$ SELECT k.tenant_id, k.name, k.secret_sha256 FROM service_keys k
          WHERE k.key_id = wanted AND k.revoked_at IS NULL $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;   -- a function's new owner needs it, for that moment
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_accepted_signals(smallint[], integer)', 'find_open_orders(smallint[])',
                             'find_accounts(smallint[])', 'find_service_key(text)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f,
                       CASE f WHEN 'find_service_key(text)' THEN 'portcullis_admin' ELSE 'portcullis_worker' END);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
