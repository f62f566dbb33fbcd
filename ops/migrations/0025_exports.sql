-- Exports of the audit log as jobs, and examiners: who may look and read for a time, by two people's yes.

CREATE TABLE audit_exports (
    export_id   uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    wanted      jsonb NOT NULL,                   -- gateway.admin.exports.NewExport
    why         text NOT NULL CHECK (length(why) BETWEEN 1 AND 1000),
    asked_by    jsonb NOT NULL,                   -- tenancy.scope.Actor
    asked_at    timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'making', 'made', 'failed', 'gone')),
    attempt     integer NOT NULL DEFAULT 0,       -- of two that make it at once, the later one counts
    done_at     timestamptz,
    records     bigint,
    bytes       bigint,                           -- of the file that is handed out
    sha256      text,
    manifest_sha256 text,                         -- as the log's record of the export has it
    log_size    bigint,
    failure     text,
    expires_at  timestamptz,                      -- then the file is removed; the row and the records stay
    CHECK ((state IN ('made', 'gone')) = (sha256 IS NOT NULL)),
    CHECK ((state = 'failed') = (failure IS NOT NULL))
);
CREATE INDEX audit_exports_of_tenant ON audit_exports (tenant_id, export_id DESC);
CREATE INDEX audit_exports_open ON audit_exports (asked_at) WHERE state IN ('asked', 'making');
SELECT put_behind_wall('audit_exports', 'admin');
GRANT SELECT, INSERT ON audit_exports TO portcullis_admin;
GRANT UPDATE (state, attempt, done_at, records, bytes, sha256, manifest_sha256, log_size, failure, expires_at)
    ON audit_exports TO portcullis_admin;

-- A designated officer or third party. The row is the person's (the same id), and their role holds while it stands.
CREATE TABLE audit_examiners (
    examiner_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    email       text NOT NULL,
    name        text NOT NULL,
    days        integer NOT NULL CHECK (days BETWEEN 1 AND 731),
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    public_key  text,                             -- PEM; NULL: looks, and opens nothing by themselves
    escrow      jsonb,                            -- audit.export.escrow: the tenant's audit key, for that key
    until       timestamptz NOT NULL,
    ended_at    timestamptz,
    revision    bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((public_key IS NULL) = (escrow IS NULL))
);
SELECT put_behind_wall('audit_examiners', 'admin');
GRANT SELECT, INSERT ON audit_examiners TO portcullis_admin;
GRANT UPDATE (ended_at, revision) ON audit_examiners TO portcullis_admin;

-- Forward only: nobody's time is made longer, and what has ended does not begin anew. Appoint again.
CREATE FUNCTION examiner_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'examiner % has ended and stays so', OLD.examiner_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ends BEFORE UPDATE ON audit_examiners FOR EACH ROW EXECUTE FUNCTION examiner_ends();

ALTER TABLE people DROP CONSTRAINT people_roles_check;
ALTER TABLE people ADD CONSTRAINT people_roles_check
    CHECK (roles <@ ARRAY['operator', 'admin', 'trader', 'approver', 'compliance', 'viewer', 'examiner']);

-- Roles are read with each request's session: the role of an examiner is among them only while an appointment stands,
-- whatever the person's row says.
CREATE POLICY finder_sees ON audit_examiners FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (examiner_id, tenant_id, until, ended_at) ON audit_examiners TO portcullis_finder;
CREATE OR REPLACE FUNCTION find_session(token bytea)
    RETURNS TABLE (session_id uuid, tenant_id uuid, tenant_kind text, person_id uuid, roles text[], previous boolean,
                   csrf_token text, transport text, created_at timestamptz, seen_at timestamptz,
                   rotated_at timestamptz, second_factor_at timestamptz, tenant_settings text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT s.session_id, s.tenant_id, t.kind, s.person_id,
                 CASE WHEN 'examiner' = ANY(p.roles) AND NOT EXISTS (
                          SELECT FROM audit_examiners e WHERE e.examiner_id = p.person_id
                          AND e.tenant_id = p.tenant_id AND e.ended_at IS NULL AND e.until > now())
                      THEN array_remove(p.roles, 'examiner') ELSE p.roles END,
                 s.token_sha256 <> token,
                 s.csrf_token, s.transport, s.created_at, s.seen_at, s.rotated_at, s.second_factor_at, t.settings::text
          FROM sessions s JOIN people p USING (person_id) JOIN tenants t ON t.tenant_id = s.tenant_id
          WHERE (s.token_sha256 = token OR s.previous_sha256 = token) AND p.state = 'active' AND p.archived_at IS NULL $$;

-- Jobs to do and files to remove, ids only.
CREATE POLICY finder_sees ON audit_exports FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (export_id, tenant_id, state, asked_at, expires_at) ON audit_exports TO portcullis_finder;
CREATE FUNCTION find_exports_to_make() RETURNS TABLE (export_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT e.export_id, e.tenant_id FROM audit_exports e WHERE e.state IN ('asked', 'making')
          ORDER BY e.asked_at LIMIT 100 $$;
CREATE FUNCTION find_exports_to_remove(at timestamptz) RETURNS TABLE (export_id uuid, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT e.export_id, e.tenant_id FROM audit_exports e WHERE e.state = 'made' AND e.expires_at <= at LIMIT 100 $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_exports_to_make()', 'find_exports_to_remove(timestamptz)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
