-- Limits that several strategies of an account draw on: whose plans take turns, how many orders an account
-- had in a minute, and what it realised in a day.

-- ---------------------------------------------------------------------------------------------- who shares

-- Strategies that share an account plan one after another (fanout/turn.py), so a snapshot names them, and its
-- version moves when one joins or leaves. As before, once per statement, rows in the order of their keys; new:
--
-- 1. The accounts are locked first. Two strategies that join one account at the same moment would else not see
--    each other's row, and neither would learn of the other.
-- 2. Then everybody moves who has or had a subscription to one of these accounts.
CREATE FUNCTION sharing_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved uuid[];
BEGIN
    PERFORM FROM accounts a WHERE a.account_id IN (SELECT c.account_id FROM changed c)
        ORDER BY a.account_id FOR NO KEY UPDATE;
    moved := ARRAY(SELECT s.strategy_id FROM strategies s WHERE s.strategy_id IN
                       (SELECT c.strategy_id FROM changed c
                        UNION SELECT u.strategy_id FROM subscriptions u
                              WHERE u.account_id IN (SELECT c.account_id FROM changed c))
                   ORDER BY s.strategy_id FOR NO KEY UPDATE);
    UPDATE strategies SET version = version + 1 WHERE strategy_id = ANY(moved);
    RETURN NULL;
END $$;
DROP TRIGGER moved_in ON subscriptions;
DROP TRIGGER moved_out ON subscriptions;
CREATE TRIGGER moved_in AFTER INSERT ON subscriptions REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sharing_moved();
CREATE TRIGGER moved_out AFTER DELETE ON subscriptions REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION sharing_moved();

-- A subscription stays with its account and its strategy. The triggers above count on it.
CREATE FUNCTION subscription_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'subscription % stays with its strategy and its account', OLD.subscription_id; END $$;
CREATE TRIGGER stays BEFORE UPDATE ON subscriptions FOR EACH ROW
    WHEN (OLD.strategy_id <> NEW.strategy_id OR OLD.account_id <> NEW.account_id)
    EXECUTE FUNCTION subscription_stays();

-- ---------------------------------------------------------------------------------------------- what is used

-- What an account has open, of all strategies: found with the partition, which is the account's own.
DROP INDEX orders_open;
CREATE INDEX orders_open ON orders (part, account_id)
    WHERE state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt');
-- Orders of the last minute. A retry of an order is no other order.
CREATE INDEX orders_of_minute ON orders (account_id, intent_at) WHERE attempt = 1;

-- What fills realised, in price times lots: a multiplier and a currency are the instrument's, which is the
-- broker's to say and which no fill waits for. NULL: the broker gave no price, so that nobody can tell.
ALTER TABLE positions ADD COLUMN last_realised numeric DEFAULT 0;  -- by the last fill; daily_results has the sums

CREATE TABLE daily_results (
    account_id  uuid NOT NULL,
    strategy_id uuid NOT NULL,
    symbol      text NOT NULL,
    day         date NOT NULL,                    -- the tenant's trading day in which it was filled
    tenant_id   uuid NOT NULL REFERENCES tenants,
    realised    numeric,
    PRIMARY KEY (account_id, day, strategy_id, symbol),
    FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, account_id)
);
SELECT put_behind_wall('daily_results', 'admin', 'worker');
GRANT SELECT ON daily_results TO portcullis_admin;
GRANT SELECT, INSERT, UPDATE ON daily_results TO portcullis_worker;
