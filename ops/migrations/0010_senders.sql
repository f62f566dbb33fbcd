-- TradingView cannot sign or set headers: its token stands in the address, and nobody keeps more of it than a hash.

ALTER TABLE hooks
    ADD COLUMN sources text[] CHECK (cardinality(sources) BETWEEN 1 AND 100),       -- NULL: TradingView's own
    ADD COLUMN repeat_window_s integer CHECK (repeat_window_s BETWEEN 5 AND 600);   -- NULL: 30
GRANT UPDATE (sources, repeat_window_s) ON hooks TO portcullis_admin;

ALTER TABLE hook_secrets DROP CONSTRAINT hook_secrets_scheme_check, DROP CONSTRAINT hook_secrets_check;
ALTER TABLE hook_secrets
    ADD COLUMN token_sha256 bytea CHECK (length(token_sha256) = 32),
    ADD CONSTRAINT hook_secrets_scheme_check CHECK (scheme IN ('v1', 'v1a', 'url_token')),
    ADD CONSTRAINT one_key_each CHECK ((scheme = 'v1') = (sealed IS NOT NULL)
        AND (scheme = 'v1a') = (public_key IS NOT NULL) AND (scheme = 'url_token') = (token_sha256 IS NOT NULL));

-- A repeat within the window is found by the ids that its body had in this window and the one before.
GRANT SELECT (received_at) ON signals TO portcullis_ingress;

-- A delayed signal is planned when its time has come, and holds nobody up before.
DROP INDEX signals_accepted;
CREATE INDEX signals_accepted ON signals (part, (coalesce(not_before, received_at))) WHERE state = 'accepted';
GRANT SELECT (not_before) ON signals TO portcullis_finder;
CREATE OR REPLACE FUNCTION find_accepted_signals(parts smallint[], most integer)
    RETURNS TABLE (signal_id uuid, tenant_id uuid, strategy_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT f.signal_id, f.tenant_id, f.strategy_id FROM (
              SELECT s.signal_id, s.tenant_id, s.strategy_id, coalesce(s.not_before, s.received_at) AS due,
                     row_number() OVER (PARTITION BY s.strategy_id
                                        ORDER BY coalesce(s.not_before, s.received_at), s.signal_id) AS n
              FROM signals s WHERE s.state = 'accepted' AND s.part = ANY(parts)
                               AND (s.not_before IS NULL OR s.not_before <= clock_timestamp())) AS f
          WHERE f.n <= most ORDER BY f.due, f.signal_id $$;
