-- The whole signal language: orders that wait for a price, what stands behind a position, and signals that
-- wait for a time or come from ourselves.

-- `held`: in the gateway's own stop engine, until its price is reached.
ALTER TABLE orders DROP CONSTRAINT orders_state_check;
ALTER TABLE orders ADD CONSTRAINT orders_state_check CHECK (state IN (
    'held', 'waiting', 'intent', 'new', 'partially_filled', 'filled', 'canceled', 'expired', 'rejected', 'unsent',
    'absent', 'in_doubt', 'denied'));
ALTER TABLE orders
    ADD COLUMN role         text NOT NULL DEFAULT 'main' CHECK (role IN ('main', 'stop', 'target')),
    ADD COLUMN stop_px      numeric CHECK (stop_px > 0),
    ADD COLUMN trail_amount numeric CHECK (trail_amount > 0),
    ADD COLUMN trail_percent numeric CHECK (trail_percent > 0),
    ADD COLUMN cancel_at    timestamptz,
    ADD COLUMN protect      json,             -- fanout.order.Protect
    ADD COLUMN signal_px    numeric,
    ADD COLUMN arrival_px   numeric;

DROP INDEX orders_open, orders_of_strategy;
CREATE INDEX orders_open ON orders (part)
    WHERE state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt');
CREATE INDEX orders_of_strategy ON orders (strategy_id)
    WHERE state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt');

-- `not_before`: a delayed signal is kept at once and planned then. `origin`: who caused it; a signal of our own
-- (the kill switch's) names the accounts that it is for.
ALTER TABLE signals
    ADD COLUMN not_before timestamptz,
    ADD COLUMN origin     text NOT NULL DEFAULT 'hook' CHECK (origin IN ('hook', 'kill_switch', 'person')),
    ADD COLUMN accounts   uuid[];

ALTER TABLE balances ADD COLUMN unrealised numeric NOT NULL DEFAULT 0;
