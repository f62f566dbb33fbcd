-- The gateway's own stops: what a held order was asked to be, how far the market has gone for it, when it was let go.

ALTER TABLE orders
    ADD COLUMN asked_type   text,             -- once let go: what was asked for, where something else is sent
    ADD COLUMN best_px      numeric,          -- the best price that a trailing stop has seen; at most a second old
    ADD COLUMN entry_px     numeric,          -- of what stands behind a position: the entry's average price
    ADD COLUMN breakeven_px numeric,          -- once the market is there, the stop stands at entry_px
    ADD COLUMN trigger_px   numeric;          -- the price that let it go

-- A worker holds them in memory: this is how it finds them, and what stands behind one position.
CREATE INDEX orders_held ON orders (part) WHERE state = 'held';
CREATE INDEX orders_standing ON orders (account_id, symbol)
    WHERE role <> 'main' AND state IN ('held', 'intent', 'new', 'partially_filled', 'in_doubt');
CREATE INDEX orders_timed ON orders (part, cancel_at)
    WHERE cancel_at IS NOT NULL AND cancel_requested_at IS NULL
      AND state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt');

-- Found across tenants: ids only. Orders under way at the market are not cancelled, for plans count them as filled.
GRANT SELECT (cancel_at, cancel_requested_at, ord_type) ON orders TO portcullis_finder;
CREATE FUNCTION find_held_orders(parts smallint[]) RETURNS TABLE (cl_ord_id text, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.cl_ord_id, o.tenant_id FROM orders o WHERE o.state = 'held' AND o.part = ANY(parts) $$;
CREATE FUNCTION find_timed_orders(parts smallint[], at timestamptz) RETURNS TABLE (cl_ord_id text, tenant_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.cl_ord_id, o.tenant_id FROM orders o
          WHERE o.part = ANY(parts) AND o.cancel_at <= at AND o.cancel_requested_at IS NULL
            AND (o.state IN ('held', 'new', 'partially_filled')
                 OR o.state IN ('waiting', 'intent', 'in_doubt') AND o.ord_type <> 'market') $$;
GRANT CREATE ON SCHEMA public TO portcullis_finder;
DO $$
DECLARE f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['find_held_orders(smallint[])', 'find_timed_orders(smallint[], timestamptz)'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO portcullis_worker', f);
        EXECUTE format('ALTER FUNCTION %s OWNER TO portcullis_finder', f);
    END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM portcullis_finder;
