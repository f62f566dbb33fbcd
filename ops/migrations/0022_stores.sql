-- What the recorder must know to keep files in the stores for as long as their records must be kept.

-- The longest retention of a tenant's classes decides for its whole log: a bundle holds records of many.
-- audit_retention is of 0021. A host that skipped nothing has it; asking late keeps the two apart.
CREATE FUNCTION audit_longest_retention() RETURNS TABLE (tenant_id uuid, years integer)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF to_regclass('audit_retention') IS NOT NULL THEN
        RETURN QUERY EXECUTE 'SELECT r.tenant_id, max(r.years)::integer FROM audit_retention r GROUP BY r.tenant_id';
    END IF;
END $$;
REVOKE ALL ON FUNCTION audit_longest_retention() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_longest_retention() TO portcullis_recorder;

DO $$
BEGIN
    IF to_regclass('audit_retention') IS NOT NULL THEN
        CREATE POLICY stores_are_kept_by ON audit_retention FOR SELECT TO portcullis_recorder USING (true);
        GRANT SELECT ON audit_retention TO portcullis_recorder;
    END IF;
END $$;
