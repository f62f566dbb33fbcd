-- Secrets of what people set up have versions like everything else; a credential may wait for a second person.

ALTER TABLE hook_secrets ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE credentials ADD COLUMN revision bigint NOT NULL DEFAULT 1;
GRANT UPDATE (revision) ON hook_secrets, credentials TO portcullis_admin;

-- Sealed, not live, and out of every worker's sight: at most one of an account. Who says yes moves it to
-- `credentials`; a later one, or an end of the account's credential, takes it away.
CREATE TABLE waiting_credentials (
    credential_id uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    account_id  uuid NOT NULL UNIQUE,
    sealed      bytea NOT NULL,                           -- as in credentials
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id)
);
SELECT put_behind_wall('waiting_credentials', 'admin');
GRANT SELECT, INSERT, DELETE ON waiting_credentials TO portcullis_admin;
