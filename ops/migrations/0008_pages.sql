-- Pages of what trading did: every filter of the admin API finds its rows by an index, in 10 million orders,
-- under forced row-level security.
--
-- 1. A page is a range of one index. Its order is a key that never changes: (signal_id, account_id, leg,
--    attempt) for orders; signal_id is a UUIDv7, so newest first and "since" and "until" need no index of a time.
-- 2. Each index begins with tenant_id, which the wall adds to every query: without it a filter that names
--    another tenant's account would walk all of that account's rows only to throw them away.
-- 3. Only leakproof operators (=, <, > of uuid, text, int2, timestamptz) may be answered from an index behind
--    the wall, because others could tell about rows that are not the caller's. Every condition here is one.
-- 4. What several filters leave over is looked at in a window of bounded length (gateway/admin/pages.py).
--
-- An order's change of state enters every full index of `orders` again (`state` stands in a predicate, so the
-- change is never heap-only). So two indexes are replaced, and two come new, one of which is partial.

-- ---------------------------------------------------------------------------------------------- signals

-- What the signal names, for filters; ingress has read it from the body before it keeps it.
ALTER TABLE signals ADD COLUMN ticker text NOT NULL DEFAULT '' CHECK (length(ticker) <= 256);
ALTER TABLE signals NO FORCE ROW LEVEL SECURITY;
UPDATE signals SET ticker = left(coalesce(convert_from(body, 'UTF8')::json ->> 'ticker', ''), 256)
    WHERE position('\x5c7530303030'::bytea IN body) = 0;  -- json cannot unescape U+0000
ALTER TABLE signals FORCE ROW LEVEL SECURITY;

-- All signals, since and until. NULLS LAST is an order that the primary key does not have: from that one the
-- server would read every tenant's signals, hoping for ours.
DROP INDEX signals_of_tenant;
CREATE INDEX signals_of_tenant ON signals (tenant_id, signal_id DESC NULLS LAST);
-- ?strategy_id= of signals; and of orders, which are then found by their signals.
CREATE INDEX signals_of_strategy ON signals (tenant_id, strategy_id, signal_id);
-- ?ticker= of signals, and of orders.
CREATE INDEX signals_of_ticker ON signals (tenant_id, ticker, signal_id);
-- ?status=accepted or refused: rare, so the index is small and a planned signal leaves it.
CREATE INDEX signals_unplanned ON signals (tenant_id, state, signal_id) WHERE state <> 'planned';

-- ---------------------------------------------------------------------------------------------- orders

-- All orders, since and until, ?signal_id=: the unique key itself, behind the tenant. It says as much as before:
-- a signal is one tenant's, and cl_ord_id, derived from the same four, is unique by itself.
ALTER TABLE orders DROP CONSTRAINT orders_signal_id_account_id_leg_attempt_key,
    ADD CONSTRAINT orders_once UNIQUE (tenant_id, signal_id, account_id, leg, attempt);
-- ?account_id=, in the page's order. The one before was by a time that changes, and nobody asked it.
DROP INDEX orders_of_account;
CREATE INDEX orders_of_account ON orders (tenant_id, account_id, signal_id, leg, attempt);
-- ?symbol=: a symbol that one account traded once in ten million orders.
CREATE INDEX orders_of_symbol ON orders (tenant_id, symbol, signal_id, account_id, leg, attempt);
-- ?status= of anything but filled: most orders are in it for the moment until they fill.
CREATE INDEX orders_unfilled ON orders (tenant_id, state, signal_id, account_id, leg, attempt) WHERE state <> 'filled';

-- ---------------------------------------------------------------------------------------------- fills

-- All fills, since and until. Fills alone: acknowledgements and ends do not enter.
CREATE INDEX fills_of_tenant ON execution_reports (tenant_id, at, cl_ord_id, exec_id) WHERE exec_type = 'trade';
-- ?account_id= of fills.
CREATE INDEX fills_of_account ON execution_reports (tenant_id, account_id, at, cl_ord_id, exec_id)
    WHERE exec_type = 'trade';

-- ---------------------------------------------------------------------------------------------- positions

-- All positions and ?account_id=. A fill changes a position in place: no column of an index moves. NULLS LAST as above.
CREATE INDEX positions_of_tenant ON positions
    (tenant_id, account_id DESC NULLS LAST, strategy_id DESC NULLS LAST, symbol DESC NULLS LAST);
CREATE INDEX balances_of_tenant ON balances (tenant_id, account_id DESC NULLS LAST);
