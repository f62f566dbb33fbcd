"""The private PostgreSQL of the tests stands as the product's does."""

from __future__ import annotations

import psycopg
import pytest


@pytest.mark.parametrize("role", ["admin", "ingress", "worker", "recorder"])
def test_a_process_role_owns_nothing_and_cannot_create(database, role):
    with psycopg.connect(database.conninfo(role), autocommit=True) as conn:
        owned = conn.execute("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
        assert owned.fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("CREATE TABLE mine ()")


def test_each_test_gets_its_own_database(postgres, database):
    other = postgres.fresh()
    try:
        with psycopg.connect(other.superuser) as conn:
            conn.execute("DELETE FROM leases")
        with psycopg.connect(database.superuser) as conn:
            assert conn.execute("SELECT count(*) FROM leases").fetchone() == (16,)
    finally:
        other.drop()
