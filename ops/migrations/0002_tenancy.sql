-- Tenancy: what people set up, layer above layer, each change with its version, its author and, where
-- the tenant says so, a second person's yes.
--
-- Two rules of inheritance (tenancy/effective.py, tenancy/limits.py):
--   settings   the most specific wins:  strategy → group → subscription
--   limits     the tightest wins:       platform → tenant → strategy → group → account
--
-- The platform is a tenant itself, the only one of kind 'platform': its people are the operators, its keys
-- are theirs, its audit log is the operator log, its limits and its state hold for everybody.

-- Puts a table behind the wall: one tenant at a time, for these roles. For migrations only.
CREATE FUNCTION put_behind_wall(t regclass, VARIADIC roles text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY one_tenant ON %s TO %s
                    USING (tenant_id = portcullis_tenant()) WITH CHECK (tenant_id = portcullis_tenant())',
                   t, (SELECT string_agg(quote_ident('portcullis_' || r), ', ') FROM unnest(roles) AS r));
END $$;
REVOKE ALL ON FUNCTION put_behind_wall(regclass, text[]) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------- objects

ALTER TABLE tenants
    ADD COLUMN kind     text NOT NULL DEFAULT 'customer' CHECK (kind IN ('customer', 'platform')),
    ADD COLUMN settings jsonb NOT NULL DEFAULT '{}',      -- tenancy.tenant.TenantSettings
    ADD COLUMN limits   jsonb NOT NULL DEFAULT '{}',      -- tenancy.limits.Limits
    ADD COLUMN revision bigint NOT NULL DEFAULT 1;        -- grows with each change by people: the ETag
CREATE UNIQUE INDEX one_platform ON tenants (kind) WHERE kind = 'platform';

-- Names are free again when their object is archived.
ALTER TABLE strategies DROP CONSTRAINT strategies_tenant_id_name_key;
ALTER TABLE accounts DROP CONSTRAINT accounts_tenant_id_name_key;
ALTER TABLE strategies
    ADD COLUMN settings jsonb NOT NULL DEFAULT '{}',      -- tenancy.strategy.StrategySettings
    ADD COLUMN limits   jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN archived_at timestamptz,
    ADD CHECK (length(name) BETWEEN 1 AND 100);
CREATE UNIQUE INDEX strategies_name ON strategies (tenant_id, name) WHERE archived_at IS NULL;

CREATE TABLE account_groups (
    group_id    uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'reducing', 'halted')),
    settings    jsonb NOT NULL DEFAULT '{}',              -- tenancy.subscription.SubscriptionSettings
    limits      jsonb NOT NULL DEFAULT '{}',
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz
);
CREATE UNIQUE INDEX account_groups_name ON account_groups (tenant_id, name) WHERE archived_at IS NULL;

ALTER TABLE accounts
    ADD COLUMN group_id uuid REFERENCES account_groups,
    ADD COLUMN limits   jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN archived_at timestamptz,
    ADD CHECK (length(name) BETWEEN 1 AND 100);
CREATE UNIQUE INDEX accounts_name ON accounts (tenant_id, name) WHERE archived_at IS NULL;
CREATE INDEX ON accounts (group_id) WHERE group_id IS NOT NULL;

ALTER TABLE subscriptions ADD COLUMN revision bigint NOT NULL DEFAULT 1;

ALTER TABLE hooks
    ADD COLUMN name     text NOT NULL DEFAULT '' CHECK (length(name) <= 100),
    ADD COLUMN per_minute integer CHECK (per_minute BETWEEN 1 AND 100000),  -- NULL: the installation's
    ADD COLUMN per_hour integer CHECK (per_hour BETWEEN 1 AND 1000000),
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN archived_at timestamptz;
CREATE INDEX ON hooks (strategy_id);

ALTER TABLE service_keys
    ADD COLUMN scopes   text[] NOT NULL DEFAULT '{}',     -- tenancy.roles.ACTIONS
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN sources  cidr[] NOT NULL DEFAULT '{}',     -- empty: from anywhere
    ADD COLUMN certificate_sha256 bytea UNIQUE CHECK (length(certificate_sha256) = 32),  -- mutual TLS
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD CHECK (length(name) BETWEEN 1 AND 100);

-- A foreign key does not look through row-level security: with the tenant in it, it cannot point over the wall.
ALTER TABLE strategies ADD UNIQUE (tenant_id, strategy_id);
ALTER TABLE account_groups ADD UNIQUE (tenant_id, group_id);
ALTER TABLE accounts ADD UNIQUE (tenant_id, account_id);
ALTER TABLE hooks ADD UNIQUE (tenant_id, hook_id);
ALTER TABLE accounts DROP CONSTRAINT accounts_group_id_fkey,
    ADD CONSTRAINT accounts_group_id_fkey FOREIGN KEY (tenant_id, group_id) REFERENCES account_groups (tenant_id, group_id);
ALTER TABLE hooks DROP CONSTRAINT hooks_strategy_id_fkey,
    ADD CONSTRAINT hooks_strategy_id_fkey FOREIGN KEY (tenant_id, strategy_id) REFERENCES strategies (tenant_id, strategy_id);
ALTER TABLE hook_secrets DROP CONSTRAINT hook_secrets_hook_id_fkey,
    ADD CONSTRAINT hook_secrets_hook_id_fkey FOREIGN KEY (tenant_id, hook_id) REFERENCES hooks (tenant_id, hook_id);
ALTER TABLE credentials DROP CONSTRAINT credentials_account_id_fkey,
    ADD CONSTRAINT credentials_account_id_fkey FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id);
ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_strategy_id_fkey, DROP CONSTRAINT subscriptions_account_id_fkey,
    ADD CONSTRAINT subscriptions_strategy_id_fkey FOREIGN KEY (tenant_id, strategy_id)
        REFERENCES strategies (tenant_id, strategy_id),
    ADD CONSTRAINT subscriptions_account_id_fkey FOREIGN KEY (tenant_id, account_id)
        REFERENCES accounts (tenant_id, account_id);

-- A default of the strategy is one of its settings now, under the name that the signal language has for it.
ALTER TABLE strategies NO FORCE ROW LEVEL SECURITY;
ALTER TABLE subscriptions NO FORCE ROW LEVEL SECURITY;
UPDATE strategies SET settings = (SELECT jsonb_object_agg('default_' || d.key, d.value) FROM jsonb_each(defaults) AS d)
    WHERE defaults <> '{}';
UPDATE subscriptions SET settings = (settings - 'override') ||
    (SELECT jsonb_object_agg('override_' || o.key, o.value) FROM jsonb_each(settings -> 'override') AS o)
    WHERE settings -> 'override' <> '{}';
ALTER TABLE strategies FORCE ROW LEVEL SECURITY;
ALTER TABLE subscriptions FORCE ROW LEVEL SECURITY;
ALTER TABLE strategies DROP COLUMN defaults;

-- ---------------------------------------------------------------------------------------------- versions

-- Whatever a plan could notice moves its strategy's version: once per statement, however many rows it changes.
DROP TRIGGER moved ON subscriptions;
DROP TRIGGER moved ON accounts;
DROP TRIGGER moved ON credentials;
DROP FUNCTION strategy_changed();

-- The rows are locked in the order of their keys, so that two changes that move several never wait for each other.
CREATE FUNCTION strategies_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved uuid[];
BEGIN
    IF TG_TABLE_NAME = 'subscriptions' THEN
        moved := ARRAY(SELECT s.strategy_id FROM strategies s WHERE s.strategy_id IN (SELECT c.strategy_id FROM changed c)
                       ORDER BY s.strategy_id FOR NO KEY UPDATE);
    ELSIF TG_TABLE_NAME = 'account_groups' THEN
        moved := ARRAY(SELECT s.strategy_id FROM strategies s WHERE s.strategy_id IN
                           (SELECT u.strategy_id FROM subscriptions u JOIN accounts a USING (account_id)
                            JOIN changed c USING (group_id))
                       ORDER BY s.strategy_id FOR NO KEY UPDATE);
    ELSIF TG_TABLE_NAME = 'tenants' THEN
        moved := ARRAY(SELECT s.strategy_id FROM strategies s WHERE s.tenant_id IN (SELECT c.tenant_id FROM changed c)
                       ORDER BY s.strategy_id FOR NO KEY UPDATE);
    ELSE  -- accounts, credentials
        moved := ARRAY(SELECT s.strategy_id FROM strategies s WHERE s.strategy_id IN
                           (SELECT u.strategy_id FROM subscriptions u JOIN changed c USING (account_id))
                       ORDER BY s.strategy_id FOR NO KEY UPDATE);
    END IF;
    UPDATE strategies SET version = version + 1 WHERE strategy_id = ANY(moved);
    RETURN NULL;
END $$;
CREATE TRIGGER moved_in AFTER INSERT ON subscriptions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved AFTER UPDATE ON subscriptions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved_out AFTER DELETE ON subscriptions REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved AFTER UPDATE ON accounts REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved AFTER UPDATE ON account_groups REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved AFTER UPDATE ON tenants REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved_in AFTER INSERT ON credentials REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();
CREATE TRIGGER moved AFTER UPDATE ON credentials REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION strategies_moved();

-- ---------------------------------------------------------------------------------------------- changes

-- Every change of every object, before and after. `after` is NULL where the object went away.
CREATE TABLE revisions (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    kind        text NOT NULL,                            -- gateway.admin.objects: 'strategy', 'account', …
    object_id   text NOT NULL,
    revision    bigint NOT NULL CHECK (revision > 0),
    before      jsonb,
    after       jsonb,
    actor       jsonb NOT NULL,                           -- tenancy.scope.Actor
    why         text NOT NULL DEFAULT '',
    proposal_id uuid,
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind, object_id, revision)
);
CREATE INDEX ON revisions (tenant_id, at DESC);
CREATE TRIGGER fence BEFORE UPDATE OR DELETE ON revisions FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER fence_all BEFORE TRUNCATE ON revisions FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- A change that waits for a second person, or for its hour.
CREATE TABLE proposals (
    proposal_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    reasons     text[] NOT NULL,                          -- why a second person is asked: tenancy.four_eyes
    operation   text NOT NULL,                            -- gateway.admin.objects: create, change, remove, …
    kind        text NOT NULL,
    object_id   text NOT NULL,
    base        bigint NOT NULL,                          -- the revision it was made for; 0: there was none
    before      jsonb,
    after       jsonb,
    comment     text NOT NULL DEFAULT '',
    state       text NOT NULL DEFAULT 'open'
                CHECK (state IN ('open', 'approved', 'applied', 'rejected', 'withdrawn', 'expired', 'failed')),
    proposed_by jsonb NOT NULL,
    proposed_at timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    effective_from timestamptz,                           -- NULL: at once when approved
    decided_by  jsonb,
    decided_at  timestamptz,
    decision_comment text NOT NULL DEFAULT '',
    applied_at  timestamptz,
    failure     text
);
CREATE INDEX ON proposals (tenant_id, proposal_id DESC);
CREATE INDEX proposals_due ON proposals (effective_from) WHERE state = 'approved';

-- Answers to POSTs, for a day: a repeat under the same key gets the first answer and causes nothing new.
CREATE TABLE idempotency_keys (
    tenant_id   uuid NOT NULL REFERENCES tenants,
    actor_id    text NOT NULL,
    key         text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_sha256 bytea NOT NULL CHECK (length(request_sha256) = 32),  -- method, path and body
    status      smallint NOT NULL,
    headers     jsonb NOT NULL,
    body        bytea NOT NULL,                           -- without what is shown once
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, actor_id, key)
);
CREATE INDEX ON idempotency_keys (created_at);

-- Operators let in: by the tenant, with a reason, for a time. A row of the customer's.
CREATE TABLE access_grants (
    grant_id    uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    operator_id text NOT NULL,                            -- the actor's id in the platform tenant
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    minutes     integer NOT NULL CHECK (minutes BETWEEN 1 AND 1440),
    state       text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'granted', 'refused', 'revoked')),
    asked_at    timestamptz NOT NULL DEFAULT now(),
    decided_by  jsonb,
    decided_at  timestamptz,
    expires_at  timestamptz                               -- set when granted
);
CREATE INDEX ON access_grants (tenant_id, grant_id DESC);

SELECT put_behind_wall('account_groups', 'admin', 'worker');
SELECT put_behind_wall('revisions', 'admin');
SELECT put_behind_wall('proposals', 'admin');
SELECT put_behind_wall('idempotency_keys', 'admin');
SELECT put_behind_wall('access_grants', 'admin');

GRANT UPDATE (name, state, settings, limits, revision) ON tenants TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE ON account_groups TO portcullis_admin;
GRANT SELECT ON account_groups TO portcullis_worker;
GRANT DELETE ON subscriptions TO portcullis_admin;
GRANT UPDATE (name, sender, per_minute, per_hour, enabled, archived_at, revision) ON hooks TO portcullis_admin;
GRANT UPDATE (name, scopes, expires_at, sources, certificate_sha256, revoked_at, revision) ON service_keys
    TO portcullis_admin;
GRANT SELECT, INSERT ON revisions TO portcullis_admin;
GRANT SELECT, INSERT ON proposals TO portcullis_admin;
GRANT UPDATE (state, decided_by, decided_at, decision_comment, applied_at, failure) ON proposals TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO portcullis_admin;
GRANT SELECT, INSERT ON access_grants TO portcullis_admin;
GRANT UPDATE (state, decided_by, decided_at, expires_at) ON access_grants TO portcullis_admin;

-- ---------------------------------------------------------------------------------------------- finders

-- What the platform lays down for everybody: its state and its limits, and when they last moved.
CREATE POLICY finder_sees ON tenants FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT ON tenants TO portcullis_finder;
CREATE FUNCTION platform_terms() RETURNS TABLE (state text, limits text, revision bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.state, t.limits::text, t.revision FROM tenants t WHERE t.kind = 'platform' $$;
-- The customers, for an operator's list: no trading in it.
CREATE FUNCTION find_tenants(after uuid, most integer)
    RETURNS TABLE (tenant_id uuid, name text, kind text, state text, created_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.tenant_id, t.name, t.kind, t.state, t.created_at FROM tenants t
          WHERE after IS NULL OR t.tenant_id > after ORDER BY t.tenant_id LIMIT most $$;
-- Where a scheduler of the admin process has something to do: ids only.
CREATE POLICY finder_sees ON proposals FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (proposal_id, tenant_id, state, effective_from, expires_at) ON proposals TO portcullis_finder;
CREATE FUNCTION find_due_proposals(at timestamptz) RETURNS TABLE (proposal_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT p.proposal_id, p.tenant_id FROM proposals p
          WHERE p.state = 'approved' AND p.effective_from <= at OR p.state = 'open' AND p.expires_at <= at
          ORDER BY p.proposal_id LIMIT 100 $$;
-- Authentication comes before tenancy: by a key's public id, or by the client certificate's fingerprint.
DROP FUNCTION find_service_key(text);
CREATE FUNCTION find_service_key(wanted text, certificate bytea)
    RETURNS TABLE (key_id text, tenant_id uuid, tenant_kind text, secret_sha256 bytea, scopes text[],
                   expires_at timestamptz, sources cidr[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT k.key_id, k.tenant_id, t.kind, k.secret_sha256, k.scopes, k.expires_at, k.sources
          FROM service_keys k JOIN tenants t USING (tenant_id)
          WHERE (k.key_id = wanted OR k.certificate_sha256 = certificate) AND k.revoked_at IS NULL $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['platform_terms()', 'find_tenants(uuid, integer)', 'find_due_proposals(timestamptz)',
                             'find_service_key(text, bytea)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION platform_terms() TO portcullis_worker;
-- Temporary tables last: what is not named is looked at first, and whoever connects may make some.
ALTER FUNCTION find_accepted_signals(smallint[], integer) SET search_path = public, pg_temp;
ALTER FUNCTION find_open_orders(smallint[]) SET search_path = public, pg_temp;
ALTER FUNCTION find_accounts(smallint[]) SET search_path = public, pg_temp;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
