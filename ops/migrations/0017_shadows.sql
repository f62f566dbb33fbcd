-- Shadows: a paper twin of a live subscription. An account and a subscription that say whose they are.

-- 'shadow-<broker>' is paper at that broker's prices, for shadows alone: whoever counts orders can tell by the
-- broker that is written in them. Limits and group are the twin's, so a shadow has none of its own.
ALTER TABLE accounts
    ADD COLUMN shadow_of uuid,
    ADD CONSTRAINT accounts_shadow_of_fkey FOREIGN KEY (tenant_id, shadow_of) REFERENCES accounts (tenant_id, account_id),
    ADD CONSTRAINT a_shadow_and_nothing_else_is_at_a_shadow_broker
        CHECK ((shadow_of IS NOT NULL) = starts_with(broker, 'shadow-')),
    ADD CONSTRAINT a_shadow_has_the_group_and_the_limits_of_its_twin
        CHECK (shadow_of IS NULL OR group_id IS NULL AND limits = '{}');
CREATE INDEX ON accounts (shadow_of) WHERE shadow_of IS NOT NULL;

-- The same strategy's subscription. Deferred: whoever deletes the live one deletes the shadow in the same
-- transaction, with a revision and a record of its own, which a cascade would not write.
ALTER TABLE subscriptions
    ADD UNIQUE (tenant_id, strategy_id, subscription_id),
    ADD COLUMN shadow_of uuid,
    ADD CONSTRAINT subscriptions_shadow_of_fkey FOREIGN KEY (tenant_id, strategy_id, shadow_of)
        REFERENCES subscriptions (tenant_id, strategy_id, subscription_id) DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT a_shadow_has_the_settings_and_the_priority_of_its_twin
        CHECK (shadow_of IS NULL OR settings = '{}' AND priority = 0);
CREATE UNIQUE INDEX subscriptions_shadow_of ON subscriptions (shadow_of) WHERE shadow_of IS NOT NULL;

-- A shadow's account follows what its twin follows, and nothing else; no account becomes a shadow later, or ceases to be.
CREATE FUNCTION shadow_stands_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.shadow_of IS NOT NULL) IS DISTINCT FROM
       (SELECT a.shadow_of IS NOT NULL FROM accounts a WHERE a.account_id = NEW.account_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'a_shadow_follows_its_twin_alone',
            MESSAGE = 'a shadow''s account follows what its twin follows, and nothing else';
    END IF;
    RETURN NULL;
END $$;
-- After the row is in: the wall between tenants has its say first.
CREATE TRIGGER alone AFTER INSERT ON subscriptions FOR EACH ROW EXECUTE FUNCTION shadow_stands_alone();
CREATE FUNCTION shadow_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% stays what it is: a shadow, or none', TG_TABLE_NAME; END $$;
CREATE TRIGGER stays_shadow BEFORE UPDATE ON accounts FOR EACH ROW
    WHEN (OLD.shadow_of IS DISTINCT FROM NEW.shadow_of) EXECUTE FUNCTION shadow_stays();
CREATE TRIGGER stays_shadow BEFORE UPDATE ON subscriptions FOR EACH ROW
    WHEN (OLD.shadow_of IS DISTINCT FROM NEW.shadow_of) EXECUTE FUNCTION shadow_stays();
