-- People, and how they come in: passwords, second factors, invitations, sessions, and what slows a guesser.
--
-- The platform is a tenant, so its operators are people of it and come in by the same door.
--
-- Nothing here opens anything by being read. Passwords are Argon2id hashes; invitations, sessions, half-way
-- logins and recovery codes are SHA-256 of tokens with 100 random bits or more; a TOTP secret is sealed by the
-- HSM. Whoever may write here can let anybody in: only portcullis_admin may, one tenant at a time.

CREATE TABLE people (
    person_id   uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    email       text NOT NULL CHECK (length(email) BETWEEN 3 AND 254 AND email = lower(email)),
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    roles       text[] NOT NULL DEFAULT '{}'              -- tenancy.roles.Role
                CHECK (roles <@ ARRAY['operator', 'admin', 'trader', 'approver', 'compliance', 'viewer']),
    disabled    boolean NOT NULL DEFAULT false,
    joined_at   timestamptz,                              -- NULL until the invitation was taken up
    state       text NOT NULL GENERATED ALWAYS AS
                (CASE WHEN disabled THEN 'disabled' WHEN joined_at IS NULL THEN 'invited' ELSE 'active' END) STORED,
    oidc_issuer text,
    oidc_subject text,
    factors_reset_at timestamptz,                         -- since when somebody who lost theirs has no second factor
    password_reset_at timestamptz,                        -- since when two agreed that they may be invited anew
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    UNIQUE (tenant_id, person_id),
    CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL))
);
CREATE UNIQUE INDEX people_email ON people (tenant_id, email) WHERE archived_at IS NULL;
CREATE UNIQUE INDEX people_subject ON people (tenant_id, oidc_issuer, oidc_subject)
    WHERE oidc_subject IS NOT NULL AND archived_at IS NULL;

-- Beside people, not in it: what lists, versions and exports people never meets a hash.
CREATE TABLE passwords (
    person_id   uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    hash        text NOT NULL CHECK (hash LIKE '$argon2id$%'),
    set_at      timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, person_id)
);

CREATE TABLE factors (
    factor_id   uuid PRIMARY KEY,
    person_id   uuid NOT NULL,
    tenant_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('totp', 'webauthn', 'recovery')),
    label       text NOT NULL DEFAULT '' CHECK (length(label) <= 100),
    sealed      bytea,                                    -- totp: hsm.envelope.SealedSecret for subject factor_id
    challenge   bytea,                                    -- webauthn: of the registration, until it is confirmed
    credential_id bytea,
    public_key  bytea,                                    -- webauthn: COSE
    sign_count  bigint NOT NULL DEFAULT 0,
    code_sha256 bytea CHECK (length(code_sha256) = 32),   -- recovery
    last_step   bigint,                                   -- totp: no step up to this one is taken again
    created_at  timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,                             -- NULL: begun, and not a factor yet
    used_at     timestamptz,
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, person_id),
    CHECK ((kind = 'totp') = (sealed IS NOT NULL)),
    CHECK ((kind = 'recovery') = (code_sha256 IS NOT NULL)),
    CHECK (kind <> 'webauthn' OR confirmed_at IS NULL OR credential_id IS NOT NULL AND public_key IS NOT NULL)
);
CREATE INDEX ON factors (person_id);
CREATE UNIQUE INDEX factors_credential ON factors (tenant_id, credential_id) WHERE credential_id IS NOT NULL;

CREATE TABLE invitations (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    tenant_id   uuid NOT NULL,
    person_id   uuid NOT NULL UNIQUE,                     -- the latest one is the only one
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, person_id)
);

CREATE TABLE sessions (
    session_id  uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    person_id   uuid NOT NULL,
    token_sha256 bytea NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    previous_sha256 bytea UNIQUE CHECK (length(previous_sha256) = 32),
    csrf_token  text NOT NULL,                            -- opens nothing without the cookie
    transport   text NOT NULL CHECK (transport IN ('cookie', 'bearer')),
    created_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    rotated_at  timestamptz NOT NULL,
    second_factor_at timestamptz,
    client      text NOT NULL DEFAULT '',
    user_agent  text NOT NULL DEFAULT '',
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, person_id)
);
CREATE INDEX ON sessions (person_id);
CREATE INDEX ON sessions (tenant_id, created_at);

-- A password was right (or a provider said who it is) and a second factor is awaited.
CREATE TABLE login_steps (
    token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
    tenant_id   uuid NOT NULL,
    person_id   uuid NOT NULL,
    subject     bytea NOT NULL,                           -- of login_throttles: guesses count for the person
    transport   text NOT NULL CHECK (transport IN ('cookie', 'bearer')),
    challenge   bytea,                                    -- webauthn: answered once
    expires_at  timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, person_id) REFERENCES people (tenant_id, person_id)
);
CREATE INDEX ON login_steps (tenant_id, expires_at);

-- An authorization request that we sent a browser to a provider with: taken up once.
CREATE TABLE oidc_requests (
    state_sha256 bytea PRIMARY KEY CHECK (length(state_sha256) = 32),
    tenant_id   uuid NOT NULL REFERENCES tenants,
    provider    text NOT NULL,
    browser_sha256 bytea NOT NULL CHECK (length(browser_sha256) = 32),  -- the browser that began it, by a cookie
    nonce       text NOT NULL,
    code_verifier text NOT NULL,                          -- RFC 7636; worth nothing without the provider's code
    expires_at  timestamptz NOT NULL
);
CREATE INDEX ON oidc_requests (tenant_id, expires_at);

-- Guesses by person (tenant name and e-mail, known or not) and by source address. There is no tenant in it:
-- a guesser has none. Subjects are hashes, rows go after a day.
CREATE TABLE login_throttles (
    subject     bytea PRIMARY KEY CHECK (length(subject) = 32),
    failures    integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    began_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL
);
CREATE INDEX ON login_throttles (last_at);

-- ---------------------------------------------------------------------------------------------- the wall

SELECT put_behind_wall('people', 'admin');
SELECT put_behind_wall('passwords', 'admin');
SELECT put_behind_wall('factors', 'admin');
SELECT put_behind_wall('invitations', 'admin');
SELECT put_behind_wall('sessions', 'admin');
SELECT put_behind_wall('login_steps', 'admin');
SELECT put_behind_wall('oidc_requests', 'admin');
ALTER TABLE login_throttles ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_throttles FORCE ROW LEVEL SECURITY;
CREATE POLICY guesses ON login_throttles TO portcullis_admin USING (true) WITH CHECK (true);

GRANT SELECT, INSERT ON people TO portcullis_admin;
GRANT UPDATE (email, name, roles, disabled, joined_at, oidc_issuer, oidc_subject, factors_reset_at, password_reset_at, revision, archived_at) ON people
    TO portcullis_admin;
GRANT SELECT, INSERT, DELETE ON passwords, factors, invitations, sessions, login_steps, oidc_requests, login_throttles
    TO portcullis_admin;
GRANT UPDATE (hash, set_at) ON passwords TO portcullis_admin;
GRANT UPDATE (label, challenge, credential_id, public_key, sign_count, last_step, confirmed_at, used_at) ON factors
    TO portcullis_admin;
GRANT UPDATE (token_sha256, created_at, expires_at) ON invitations TO portcullis_admin;
GRANT UPDATE (token_sha256, previous_sha256, seen_at, rotated_at, second_factor_at) ON sessions TO portcullis_admin;
GRANT UPDATE (challenge) ON login_steps TO portcullis_admin;
GRANT UPDATE ON login_throttles TO portcullis_admin;

-- Whoever loses a role, is disabled or leaves is out at once, whichever way the change was made.
CREATE FUNCTION sessions_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM sessions WHERE person_id = NEW.person_id;
    DELETE FROM login_steps WHERE person_id = NEW.person_id;
    IF OLD.factors_reset_at IS DISTINCT FROM NEW.factors_reset_at THEN
        DELETE FROM factors WHERE person_id = NEW.person_id;
    END IF;
    IF OLD.password_reset_at IS DISTINCT FROM NEW.password_reset_at THEN
        DELETE FROM passwords WHERE person_id = NEW.person_id;
        DELETE FROM invitations WHERE person_id = NEW.person_id;
    END IF;
    IF OLD.email IS DISTINCT FROM NEW.email OR OLD.password_reset_at IS DISTINCT FROM NEW.password_reset_at THEN
        -- Whom a provider knows under the old address is not thereby known under the new one.
        UPDATE people SET oidc_issuer = NULL, oidc_subject = NULL
            WHERE person_id = NEW.person_id AND oidc_subject IS NOT NULL;
    END IF;
    IF NEW.disabled OR NEW.archived_at IS NOT NULL THEN
        DELETE FROM invitations WHERE person_id = NEW.person_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ended AFTER UPDATE ON people FOR EACH ROW
    WHEN (OLD.roles IS DISTINCT FROM NEW.roles OR OLD.disabled IS DISTINCT FROM NEW.disabled
          OR OLD.email IS DISTINCT FROM NEW.email OR OLD.archived_at IS DISTINCT FROM NEW.archived_at
          OR OLD.factors_reset_at IS DISTINCT FROM NEW.factors_reset_at
          OR OLD.password_reset_at IS DISTINCT FROM NEW.password_reset_at)
    EXECUTE FUNCTION sessions_end();

-- ---------------------------------------------------------------------------------------------- finders

-- Somebody is at the door: who do they say they are, and which token do they show? Nobody's tenant is known yet.
CREATE POLICY finder_sees ON people FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON passwords FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON invitations FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON sessions FOR SELECT TO portcullis_finder USING (true);
CREATE POLICY finder_sees ON login_steps FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT ON people, passwords, invitations, sessions, login_steps TO portcullis_finder;

CREATE FUNCTION find_person(tenant text, address text)
    RETURNS TABLE (tenant_id uuid, tenant_kind text, person_id uuid, state text, password_hash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT p.tenant_id, t.kind, p.person_id, p.state, w.hash
          FROM people p JOIN tenants t USING (tenant_id) LEFT JOIN passwords w USING (person_id)
          WHERE t.name = tenant AND p.email = address AND p.archived_at IS NULL $$;
CREATE FUNCTION find_tenant(tenant text) RETURNS TABLE (tenant_id uuid, tenant_kind text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.tenant_id, t.kind FROM tenants t WHERE t.name = tenant $$;
CREATE FUNCTION find_invitation(token bytea)
    RETURNS TABLE (tenant_id uuid, tenant_name text, person_id uuid, email text, name text, expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT i.tenant_id, t.name, i.person_id, p.email, p.name, i.expires_at
          FROM invitations i JOIN people p USING (person_id) JOIN tenants t ON t.tenant_id = i.tenant_id
          WHERE i.token_sha256 = token AND NOT p.disabled AND p.archived_at IS NULL $$;
CREATE FUNCTION find_session(token bytea)
    RETURNS TABLE (session_id uuid, tenant_id uuid, tenant_kind text, person_id uuid, roles text[], previous boolean,
                   csrf_token text, transport text, created_at timestamptz, seen_at timestamptz,
                   rotated_at timestamptz, second_factor_at timestamptz, tenant_settings text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT s.session_id, s.tenant_id, t.kind, s.person_id, p.roles, s.token_sha256 <> token,
                 s.csrf_token, s.transport, s.created_at, s.seen_at, s.rotated_at, s.second_factor_at, t.settings::text
          FROM sessions s JOIN people p USING (person_id) JOIN tenants t ON t.tenant_id = s.tenant_id
          WHERE (s.token_sha256 = token OR s.previous_sha256 = token) AND p.state = 'active' AND p.archived_at IS NULL $$;
CREATE FUNCTION find_login_step(token bytea)
    RETURNS TABLE (tenant_id uuid, tenant_kind text, person_id uuid, subject bytea, transport text,
                   challenge bytea, expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT l.tenant_id, t.kind, l.person_id, l.subject, l.transport, l.challenge, l.expires_at
          FROM login_steps l JOIN people p USING (person_id) JOIN tenants t ON t.tenant_id = l.tenant_id
          WHERE l.token_sha256 = token AND p.state = 'active' AND p.archived_at IS NULL $$;

GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_person(text, text)', 'find_tenant(text)', 'find_invitation(bytea)',
                             'find_session(bytea)', 'find_login_step(bytea)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
