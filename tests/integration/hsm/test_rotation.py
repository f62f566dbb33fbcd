"""New keys beside the old ones, under load; and the end of old ones, proven."""

import asyncio
import hmac
import time
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute

from audit.note import ECDSA_P256, VerifierKey
from hsm import ceremony, ending, rotation
from hsm.check import check
from hsm.enrol import encrypt_key, encrypt_secret
from hsm.envelope import name_of, unpack
from hsm.errors import CeremonyRefused, KeyMissing, MalformedRequest
from hsm.pool import WRAPPER_SEEN_S, Keys
from hsm.templates import key_label
from tests.integration.hsm.conftest import enrol_token, signing_token
from tests.integration.hsm.test_daemons import Tenant

AT_ONCE = 64


async def sign(signer, tenant: Tenant, sealed: bytes, **more) -> bool:
    """Whether the signature is the one of the plain secret."""
    request = tenant.request(**more)
    return await signer.sign_request(sealed, **request) == tenant.expected(request)


async def sign_until(signer, tenant: Tenant, sealed: bytes, deadline: float) -> None:
    """Sign again and again, rightly, until it raises or the time (monotonic) has come."""
    while time.monotonic() < deadline:
        assert await sign(signer, tenant, sealed)
        await asyncio.sleep(0.05)


class Load:
    """AT_ONCE callers that sign and enrol without a pause, and count what went wrong."""

    def __init__(self, vault, tenant: Tenant, rows: list[bytes]) -> None:
        self.vault, self.tenant, self.rows = vault, tenant, rows
        self.signed = self.wrong = self.enrolled = 0
        self.refused: list[BaseException] = []
        self.versions: set[int] = set()
        self._stop = False

    async def __aenter__(self):
        self._signer = await self.vault.signer().__aenter__()
        self._tasks = [asyncio.create_task(self._call(n)) for n in range(AT_ONCE)]
        self._tasks.append(asyncio.create_task(self._enrol()))
        await asyncio.sleep(0.3)
        return self

    async def __aexit__(self, *_):
        await asyncio.sleep(0.3)
        self._stop = True
        await asyncio.gather(*self._tasks)
        await self._signer.close()

    async def _call(self, n: int) -> None:
        while not self._stop:
            row = self.rows[(n + self.signed) % len(self.rows)]
            try:
                self.wrong += not await sign(
                    self._signer, self.tenant, row, body=b'{"size":%d}' % n
                )
                self.signed += 1
            except Exception as error:
                self.refused.append(error)

    async def _enrol(self) -> None:
        while not self._stop:
            try:
                row = await self.tenant.enrol()
                self.wrong += not await sign(self._signer, self.tenant, row)
                self.versions.add(unpack(row).kek_version)
                self.enrolled += 1
            except Exception as error:
                self.refused.append(error)


async def test_a_kek_rotates_under_load_without_a_refusal_or_a_wrong_signature(vault):
    """Old rows go on being signed, new ones are sealed under the new version, nobody is restarted."""
    tenant = Tenant(vault)
    rows = [await tenant.enrol() for _ in range(8)]
    async with Load(vault, tenant, rows) as load:
        facts = await asyncio.to_thread(
            rotation.rotate_tenant_keys, vault.settings, tenant.tenant_id, 1
        )
    assert load.refused == []
    assert load.wrong == 0
    assert load.signed > 1000
    assert load.versions == {1, 2}
    assert facts.versions == (2,)
    assert len(facts.made) == 6
    assert check(vault.settings) == []
    assert {unpack(row).kek_version for row in rows} == {1}


async def test_the_enrolment_pair_rotates_under_load_and_old_ciphertexts_open_in_the_grace(vault):
    tenant = Tenant(vault)
    rows = [await tenant.enrol()]
    async with vault.enroller() as enroller:
        old = await enroller.public_key_pem()
        async with Load(vault, tenant, rows) as load:
            facts = await asyncio.to_thread(rotation.rotate_enrol_key, vault.settings, 1)
        assert (load.refused, load.wrong) == ([], 0)
        new = await enroller.public_key_pem()
        assert old != new
        assert facts.versions == (2,)
        for pem in (old, new):
            row = await enroller.seal_key(
                tenant.tenant_id, tenant.account_id, "gateio", encrypt_key(pem, tenant.secret)
            )
            async with vault.signer() as signer:
                assert await sign(signer, tenant, row)
        await asyncio.to_thread(ending.retire_enrol_key, vault.settings, 1)
        with pytest.raises(MalformedRequest, match="does not open"):
            await enroller.seal_key(
                tenant.tenant_id, tenant.account_id, "gateio", encrypt_key(old, b"s")
            )
        with pytest.raises(CeremonyRefused, match="newest"):
            ending.retire_enrol_key(vault.settings, 2)
        assert await enroller.public_key_pem() == new
    assert check(vault.settings) == []


async def test_retiring_an_old_kek_ends_its_rows_within_seconds_and_no_other(vault):
    """Also for a key that the running signer holds unwrapped: PKCS#11 itself would keep that one alive."""
    tenant, other = Tenant(vault), Tenant(vault)
    old, theirs = await tenant.enrol(), await other.enrol()
    rotation.rotate_tenant_keys(vault.settings, tenant.tenant_id, 1)
    new = await tenant.enrol()
    async with vault.signer() as signer:
        for row in (old, new):
            assert await sign(signer, tenant, row)
        facts = ending.retire_tenant_keys(vault.settings, tenant.tenant_id, 1)
        assert len(facts.destroyed) == 6
        gone = time.monotonic()
        with pytest.raises(KeyMissing):
            await sign_until(signer, tenant, old, gone + WRAPPER_SEEN_S + 3)
        assert time.monotonic() - gone <= WRAPPER_SEEN_S + 1
        with pytest.raises(KeyMissing):
            await sign(signer, tenant, old)
        assert await sign(signer, tenant, new)
        assert await sign(signer, other, theirs)
        assert (await signer.status())["uptime_s"] > 0
    assert check(vault.settings) == []


async def test_the_newest_version_is_never_retired(vault):
    tenant = Tenant(vault)
    with pytest.raises(CeremonyRefused, match="newest"):
        ending.retire_tenant_keys(vault.settings, tenant.tenant_id, 1)
    row = await tenant.enrol()
    async with vault.signer() as signer:
        assert await sign(signer, tenant, row)


async def test_off_boarding_destroys_every_version_in_both_tokens_and_tries_the_rows(vault):
    tenant, other = Tenant(vault), Tenant(vault)
    key, secret, theirs = await tenant.enrol(), await tenant.seal_secret(b"x"), await other.enrol()
    rotation.rotate_tenant_keys(vault.settings, tenant.tenant_id, 1)
    rows = [key, secret, await tenant.enrol()]
    before = ending.tried(vault.settings, rows)
    assert [one.outcome for one in before] == ["opens"] * 3
    async with vault.signer() as signer:
        assert await sign(signer, tenant, key)
        facts = ending.destroy_tenant_keys(vault.settings, tenant.tenant_id, rows)
        assert facts.versions == (1, 2)
        assert len(facts.destroyed) == 12
        assert facts.left == 0
        assert [one.outcome for one in facts.tried] == ["hsm_key_missing"] * 3
        assert [one.row for one in facts.tried] == [name_of(row).hex() for row in rows]
        await asyncio.sleep(WRAPPER_SEEN_S)
        for row in (rows[0], rows[2]):
            with pytest.raises(KeyMissing):
                await sign(signer, tenant, row)
        with pytest.raises(KeyMissing):
            await signer.open_secret(secret, tenant_id=tenant.tenant_id, subject="s")
        assert await sign(signer, other, theirs)
    with pytest.raises(KeyMissing):
        await tenant.enrol()
    assert objects_of(vault, tenant.tenant_id) == []


def objects_of(vault, tenant_id: UUID) -> list[str]:
    """Labels of everything in both tokens that has to do with the tenant, read by another route."""
    found = []
    for opened in (signing_token, enrol_token):
        with opened(vault) as anchor:
            keys = [(str(key[Attribute.LABEL]), bytes(key[Attribute.ID]))
                    for key in anchor.session.get_objects()]  # fmt: skip
        found += [label for label, id in keys if str(tenant_id) in label or id == tenant_id.bytes]
    return found


def test_an_object_that_was_renamed_is_destroyed_with_its_tenant(softhsm):
    """It carries the tenant's id, whatever it is called: a search by label alone would leave it."""
    tenant, other = uuid4(), uuid4()
    softhsm.init(tenant, other)
    with signing_token(softhsm) as anchor:
        anchor.session.generate_key(
            ceremony.KeyType.AES, 256, label="harmless", id=tenant.bytes, store=True
        )
    facts = ending.destroy_tenant_keys(softhsm.settings, tenant)
    assert {key.label for key in facts.destroyed} >= {"harmless"}
    assert objects_of(softhsm, tenant) == []
    assert len(objects_of(softhsm, other)) == 6


def test_a_ceremony_that_died_before_its_version_was_registered_is_not_made_twice(softhsm):
    tenant = uuid4()
    softhsm.init(tenant)
    first = rotation.rotate_tenant_keys(softhsm.settings, tenant, 1)
    again = rotation.rotate_tenant_keys(softhsm.settings, tenant, 1)
    assert first == again
    assert len(objects_of(softhsm, tenant)) == 12
    assert rotation.rotate_tenant_keys(softhsm.settings, tenant, 2).versions == (3,)


def test_a_set_without_its_mac_key_is_made_anew_under_the_same_number(softhsm):
    tenant = uuid4()
    softhsm.init(tenant)
    rotation.rotate_tenant_keys(softhsm.settings, tenant, 1)
    with enrol_token(softhsm) as anchor:
        (key,) = anchor.session.get_objects({Attribute.LABEL: key_label("mac", tenant, 2)})
        key.destroy()
    assert rotation.rotate_tenant_keys(softhsm.settings, tenant, 1).versions == (2,)
    assert len(objects_of(softhsm, tenant)) == 12
    assert check(softhsm.settings) == []


def test_a_number_is_never_used_again(softhsm):
    """What was version 2 and is destroyed stays so: a row of the old 2 must not meet a new 2."""
    tenant = uuid4()
    softhsm.init(tenant)
    assert rotation.rotate_tenant_keys(softhsm.settings, tenant, known=7).versions == (8,)


def test_a_tenant_without_keys_is_not_rotated_into_some(softhsm):
    softhsm.init()
    with pytest.raises(CeremonyRefused, match="no keys"):
        rotation.rotate_tenant_keys(softhsm.settings, uuid4(), 0)


async def test_a_logs_two_keys_sign_for_its_one_origin_and_the_old_one_ends(vault):
    origin = f"portcullis.invalid/log/{uuid4().hex}"
    text = f"{origin}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".encode()
    old = ceremony.create_log_key(vault.settings, origin, origin)
    facts = rotation.rotate_log_key(vault.settings, origin, 2)
    assert facts == rotation.rotate_log_key(vault.settings, origin, 2)
    new = bytes.fromhex(facts.public_key)
    assert new != old
    second = VerifierKey(origin, bytes.fromhex(facts.p256_key), ECDSA_P256)
    async with vault.signer() as signer:
        assert second.verifies(text, await signer.sign_note(f"{origin}@v2#p256", text))
        for label, key in ((origin, old), (f"{origin}@v2", new)):
            Ed25519PublicKey.from_public_bytes(key).verify(
                await signer.sign_note(label, text), text
            )
        with pytest.raises(CeremonyRefused, match="no key"):
            ending.retire_log_key(vault.settings, origin, 2, successor=3)
        ending.retire_log_key(vault.settings, origin, 1, successor=2)
        with pytest.raises(KeyMissing):
            await signer.sign_note(origin, text)
        assert await signer.sign_note(f"{origin}@v2", text)
    assert check(vault.settings) == []


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sealed_rows(softhsm, count):
    """A tenant of its own, and so many of its accounts' keys, sealed in this process."""
    from hsm.enroller import EnrolDesk
    from hsm.protocol import EnrolKey, SealKey

    tenant = uuid4()
    softhsm.init(tenant)
    with enrol_token(softhsm) as anchor:
        worker = EnrolDesk(anchor).worker()
        ciphertext = encrypt_key(worker.serve(EnrolKey(1)), b"secret")
        return tenant, [
            worker.serve(SealKey(1, tenant, uuid4(), "gateio", ciphertext)) for _ in range(count)
        ]


async def test_a_session_key_is_not_used_once_its_kek_is_gone(softhsm):
    """In one process, by the clock: within the time nothing is asked of the token, then it is."""
    tenant, rows = sealed_rows(softhsm, 3)
    seconds = Seconds()
    with signing_token(softhsm) as anchor:
        keys = Keys(anchor, keys_max=10, now=seconds)
        for row in rows:
            keys.load(name_of(row), row)
        (wrapper,) = anchor.session.get_objects({Attribute.LABEL: key_label("kek", tenant, 1)})
        wrapper.destroy()
        seconds.now += WRAPPER_SEEN_S * 0.9
        held = keys.cached(name_of(rows[0]))
        assert held.hmac_sha512(b"x") == hmac.digest(b"secret", b"x", "sha512")
        seconds.now += WRAPPER_SEEN_S
        with pytest.raises(KeyMissing):
            keys.cached(name_of(rows[1]))
        assert len(keys) == 0
        assert keys.cached(name_of(rows[0])) is None
        with pytest.raises(KeyMissing):
            keys.load(name_of(rows[0]), rows[0])


async def test_what_one_thread_saw_of_a_kek_the_others_do_not_ask_again(softhsm):
    """A look is a call into the token: fifty tenants and thirty-two threads would make many of them."""
    tenant, (row,) = sealed_rows(softhsm, 1)
    seconds = Seconds()
    with signing_token(softhsm) as anchor:
        one, other = (Keys(anchor, keys_max=10, now=seconds) for _ in range(2))
        for keys in (one, other):
            keys.load(name_of(row), row)
        seconds.now += WRAPPER_SEEN_S
        assert one.cached(name_of(row)) is not None  # looks, and the next one need not
        (wrapper,) = anchor.session.get_objects({Attribute.LABEL: key_label("kek", tenant, 1)})
        wrapper.destroy()
        seconds.now += WRAPPER_SEEN_S * 0.9
        assert other.cached(name_of(row)) is not None
        seconds.now += WRAPPER_SEEN_S * 0.2
        for keys in (other, one):
            with pytest.raises(KeyMissing):
                keys.cached(name_of(row))


async def test_secrets_of_either_version_open(vault):
    tenant = Tenant(vault)
    old = await tenant.seal_secret(b"first")
    rotation.rotate_tenant_keys(vault.settings, tenant.tenant_id, 1)
    async with vault.enroller() as enroller:
        pem = await enroller.public_key_pem()
        new = await enroller.seal_secret(
            tenant.tenant_id, "s", "hook", encrypt_secret(pem, b"second")
        )
    async with vault.signer() as signer:
        opened = [
            await signer.open_secret(row, tenant_id=tenant.tenant_id, subject="s")
            for row in (old, new)
        ]
    assert opened == [b"first", b"second"]
