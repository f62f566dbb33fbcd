"""Handles start again with the library: the trap itself, and the canary that sees it."""

import hmac
from uuid import uuid4

import pytest

from hsm.enrol import encrypt_key
from hsm.enroller import EnrolDesk
from hsm.envelope import name_of
from hsm.errors import TokenLost
from hsm.pool import Keys
from hsm.protocol import EnrolKey, SealKey
from tests.integration.hsm.conftest import enrol_token, signing_token

TENANT_A, TENANT_B = uuid4(), uuid4()


@pytest.fixture
def rows(softhsm):
    softhsm.init(TENANT_A, TENANT_B)
    with enrol_token(softhsm) as anchor:
        worker = EnrolDesk(anchor).worker()
        pem = worker.serve(EnrolKey(1))
        return [
            worker.serve(SealKey(1, tenant, uuid4(), "gateio", encrypt_key(pem, secret)))
            for tenant, secret in ((TENANT_A, b"secret A"), (TENANT_B, b"secret B"))
        ]


def load(keys, row):
    return keys.load(name_of(row), row)


def test_a_stale_handle_signs_for_another_tenant_and_the_canary_refuses_it(softhsm, rows):
    """Without the canary, tenant A's signature would be made with tenant B's secret."""
    row_a, row_b = rows
    with signing_token(softhsm) as anchor:
        old = Keys(anchor, keys_max=10)
        key_a = load(old, row_a)
        assert key_a.hmac_sha512(b"x") == hmac.digest(b"secret A", b"x", "sha512")
    with signing_token(softhsm) as anchor:
        new = Keys(anchor, keys_max=10)
        load(new, row_b)
        assert key_a.hmac_sha512(b"x") == hmac.digest(b"secret B", b"x", "sha512")
        with pytest.raises(TokenLost, match="another key"):
            old.check_canary()
        new.check_canary()


def test_a_dead_session_is_a_silent_canary(softhsm, rows):
    with signing_token(softhsm) as anchor:
        keys = Keys(anchor, keys_max=10)
        anchor.close()
        with pytest.raises(TokenLost, match="silent"):
            keys.check_canary()


def test_the_oldest_key_makes_room(softhsm, rows):
    with signing_token(softhsm) as anchor:
        keys = Keys(anchor, keys_max=1)
        load(keys, rows[0])
        load(keys, rows[1])
        assert len(keys) == 1
        assert keys.cached(name_of(rows[0])) is None
        assert keys.cached(name_of(rows[1])).hmac_sha512(b"x") == hmac.digest(
            b"secret B", b"x", "sha512"
        )
