-- Audit payloads are encrypted: a key for each tenant, keys for each subject; retention, holds, erasures.
--
-- No foreign key to tenants on the two tables of keys: a key is made before the transaction that needs it, in
-- one of its own, and a new tenant's first record is written before the tenant is committed.

CREATE TABLE audit_keys (
    tenant_id   uuid PRIMARY KEY,
    sealed      bytea NOT NULL,                   -- hsm.envelope.SealedSecret, purpose `audit`
    keeper      uuid,                             -- whose keys in the HSM it is sealed under, if not the tenant's own:
                                                  -- the platform's, when a customer has left and its keys are destroyed
    generation  bigint NOT NULL DEFAULT 1,        -- grows when a subject's keys are retired or destroyed
    made_at     timestamptz NOT NULL DEFAULT now()
);

-- Not write-once: destroying a row erases what was encrypted under it, wherever it is copied.
CREATE TABLE audit_data_keys (
    tenant_id   uuid NOT NULL,
    subject     text NOT NULL CHECK (length(subject) BETWEEN 1 AND 512),
    version     integer NOT NULL CHECK (version > 0),
    wrapped     bytea NOT NULL,                   -- audit/sealing.py; under the tenant's audit key
    made_at     timestamptz NOT NULL DEFAULT now(),
    retired_at  timestamptz,                      -- from then on nothing new is sealed under it
    PRIMARY KEY (tenant_id, subject, version)
) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0);  -- what is deleted shall go soon

-- What was destroyed, and which record of the log says so. `through_version`: every version up to it.
CREATE TABLE audit_erasures (
    erasure_id  uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    subject     text NOT NULL,
    through_version integer NOT NULL,
    erased_at   timestamptz NOT NULL,
    why         text NOT NULL,
    asked_by    jsonb NOT NULL,
    approved_by jsonb NOT NULL,
    proposal_id uuid NOT NULL,
    records     bigint NOT NULL,                  -- of the subject, whose content is gone
    log_size    bigint NOT NULL,                  -- the shred record's index is at or above it
    pc          bytea NOT NULL CHECK (length(pc) = 32)   -- the shred record's commitment
);
CREATE INDEX ON audit_erasures (tenant_id, subject);

-- How long records of a class are kept. A class that is not here is kept for audit_years_default().
CREATE TABLE audit_retention (
    tenant_id   uuid NOT NULL,
    cls         text NOT NULL CHECK (length(cls) BETWEEN 1 AND 64),
    years       smallint NOT NULL CHECK (years BETWEEN 1 AND 100),
    regimes     text[] NOT NULL DEFAULT '{}',
    set_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, cls)
);
CREATE FUNCTION audit_years_default() RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 6::smallint $$;

CREATE FUNCTION audit_retention_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.years < audit_years_default() THEN
            RAISE EXCEPTION 'retention only grows: % is kept % years, not %', NEW.cls, audit_years_default(), NEW.years;
        END IF;
    ELSIF TG_OP <> 'UPDATE' OR NEW.years < OLD.years OR (NEW.tenant_id, NEW.cls) <> (OLD.tenant_id, OLD.cls) THEN
        RAISE EXCEPTION 'retention only grows: % of % refused', TG_OP, OLD.cls;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER grows BEFORE INSERT OR UPDATE OR DELETE ON audit_retention FOR EACH ROW EXECUTE FUNCTION audit_retention_grows();
CREATE FUNCTION audit_retention_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'retention only grows: TRUNCATE refused'; END $$;
CREATE TRIGGER stays BEFORE TRUNCATE ON audit_retention FOR EACH STATEMENT EXECUTE FUNCTION audit_retention_stays();
ALTER TABLE audit_retention ENABLE ALWAYS TRIGGER grows;
ALTER TABLE audit_retention ENABLE ALWAYS TRIGGER stays;

-- A legal hold beats the end of retention. Members that are NULL do not narrow it; all NULL holds everything. One
-- that still waits for its second person is a proposal, and holds already (audit/holds.py).
CREATE TABLE audit_holds (
    hold_id     uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    subject     text,
    oid         text,
    acct        text,
    from_at     timestamptz,
    to_at       timestamptz,
    why         text NOT NULL CHECK (length(why) BETWEEN 1 AND 1000),
    placed_by   jsonb NOT NULL,
    approved_by jsonb NOT NULL,
    placed_at   timestamptz NOT NULL,
    released_by jsonb,
    release_approved_by jsonb,
    released_at timestamptz,
    CHECK (from_at IS NULL OR to_at IS NULL OR from_at < to_at)
);
CREATE INDEX ON audit_holds (tenant_id) WHERE released_at IS NULL;

-- As in a leaf (audit/record.py): text order is time order.
CREATE FUNCTION audit_time_text(at timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '000Z' $$;

ALTER TABLE audit_inbox ADD COLUMN subject text;
ALTER TABLE audit_payloads ADD COLUMN subject text, ADD COLUMN cls text, ADD COLUMN recorded_at timestamptz,
                           ADD COLUMN keep_until timestamptz;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['audit_keys', 'audit_data_keys', 'audit_erasures', 'audit_retention', 'audit_holds'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY one_tenant ON %I TO portcullis_admin, portcullis_worker, portcullis_ingress, portcullis_recorder
                        USING (tenant_id = portcullis_tenant()) WITH CHECK (tenant_id = portcullis_tenant())', t);
    END LOOP;
END $$;

CREATE POLICY keeper_sees ON audit_keys TO portcullis_admin
    USING (keeper = portcullis_tenant()) WITH CHECK (keeper = portcullis_tenant());

-- Every process that writes records reads its tenant's key and makes a subject's first one. Only the
-- management listener, which has the enroller, makes a tenant's key, and only it destroys.
GRANT SELECT ON audit_keys, audit_erasures TO portcullis_admin, portcullis_worker, portcullis_ingress, portcullis_recorder;
GRANT SELECT, INSERT ON audit_data_keys TO portcullis_admin, portcullis_worker, portcullis_ingress, portcullis_recorder;
GRANT INSERT ON audit_keys, audit_erasures TO portcullis_admin;
GRANT UPDATE (sealed, keeper, generation) ON audit_keys TO portcullis_admin;
GRANT UPDATE (retired_at), DELETE ON audit_data_keys TO portcullis_admin;
GRANT SELECT, INSERT ON audit_retention, audit_holds TO portcullis_admin;
GRANT UPDATE (years, regimes, set_at) ON audit_retention TO portcullis_admin;
GRANT UPDATE (released_by, release_approved_by, released_at) ON audit_holds TO portcullis_admin;

-- The recorder sees every tenant's classes, to say at recording until when a record is kept.
CREATE POLICY recorder_reads ON audit_retention FOR SELECT TO portcullis_recorder USING (true);
GRANT SELECT ON audit_retention TO portcullis_recorder;

-- Tenants from before there were audit keys.
CREATE POLICY finder_sees ON audit_keys FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (tenant_id) ON audit_keys TO portcullis_finder;
CREATE FUNCTION find_tenants_without_audit_key() RETURNS TABLE (tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT l.tenant_id FROM audit_logs l WHERE NOT EXISTS (SELECT FROM audit_keys k WHERE k.tenant_id = l.tenant_id)
          ORDER BY l.tenant_id $$;
-- How many records of a subject have no index yet: the management listener cannot look into the inbox.
CREATE POLICY finder_sees ON audit_inbox FOR SELECT TO portcullis_finder USING (true);
GRANT SELECT (tenant_id, subject) ON audit_inbox TO portcullis_finder;
CREATE FUNCTION audit_records_waiting(of_subject text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT count(*) FROM audit_inbox b WHERE b.tenant_id = portcullis_tenant() AND b.subject = of_subject $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_tenants_without_audit_key()', 'audit_records_waiting(text)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_admin', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
