"""The ring: one look for many, bounded, forgetful in time, and never in clear."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from audit import inbox, ring
from audit.inbox import Entry, append, subject_of
from audit.malformed import Malformed
from audit.ports import AuditUnavailable
from audit.record import Kind
from audit.ring import FRESH_S, Erased, Ring
from tenancy.scope import Actor
from tenancy.values import TenantID
from tests.fakes.ring import KeysInMemory

ONE, OTHER = TenantID(uuid4()), TenantID(uuid4())
PC = b"\x07" * 32
ALGO = Actor("algo", "x")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys() -> KeysInMemory:
    return KeysInMemory()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(keys, clock) -> Ring:
    return Ring(keys, monotonic=clock)


async def test_what_it_seals_it_opens(own):
    stored = await own.seal(ONE, "account:a", b"said", PC)
    assert b"said" not in stored
    assert await own.open(ONE, stored, PC) == b"said"


async def test_many_subjects_cost_one_look_and_then_none(own, keys):
    rows = [(ONE, f"account:{n % 100}", b"x", PC) for n in range(1000)]
    await own.seal_all(rows)
    await own.seal_all(rows)
    assert keys.looks == 1


async def test_it_holds_no_more_keys_than_it_may(keys, clock):
    small = Ring(keys, most=3, monotonic=clock)
    made = await small.seal_all([(ONE, f"account:{n}", b"x", PC) for n in range(10)])
    assert await small.open_all(ONE, [(one, PC) for one in made]) == [b"x"] * 10
    assert repr(small) == "<Ring 3 keys to seal with, 3 to open>"


async def test_the_key_used_longest_ago_goes_first(keys, clock):
    small = Ring(keys, most=2, monotonic=clock)
    for subject in ("account:a", "account:b", "account:a", "account:c", "account:a"):
        await small.seal(ONE, subject, b"x", PC)
    assert keys.looks == 3


async def test_a_destroyed_key_erases_what_was_copied_away_before(own, keys, clock):
    copy = await own.seal(ONE, "account:a", b"said", PC)
    assert await own.open(ONE, copy, PC) == b"said"
    receipt = keys.destroy(ONE, "account:a")
    clock.now += FRESH_S
    with pytest.raises(Erased) as erased:
        await own.open(ONE, copy, PC)
    assert erased.value.receipt == receipt


async def test_after_a_while_nothing_is_sealed_under_a_key_that_is_gone(own, keys, clock):
    await own.seal(ONE, "account:a", b"said", PC)
    keys.destroy(ONE, "account:a")
    clock.now += FRESH_S
    later = await own.seal(ONE, "account:a", b"later", PC)
    assert await own.open(ONE, later, PC) == b"later"


async def test_the_tenants_generation_is_asked_for_once_in_a_while(own, keys, clock):
    for _ in range(100):
        await own.seal(ONE, "account:a", b"said", PC)
    assert keys.asked == 1
    clock.now += FRESH_S
    await own.seal(ONE, "account:a", b"said", PC)
    assert (keys.asked, keys.looks) == (2, 1)  # the same generation: the key is still good


async def test_what_a_subject_lost_another_keeps(own, keys, clock):
    kept = await own.seal(ONE, "account:b", b"kept", PC)
    await own.seal(ONE, "account:a", b"lost", PC)
    keys.destroy(ONE, "account:a")
    clock.now += FRESH_S
    assert await own.open(ONE, kept, PC) == b"kept"


async def test_one_tenants_keys_open_nothing_of_another(own):
    stored = await own.seal(ONE, "tenant", b"said", PC)
    await own.seal(OTHER, "tenant", b"other", PC)
    with pytest.raises(Malformed):
        await own.open(OTHER, stored, PC)


async def test_payloads_from_before_are_shown_as_they_are():
    assert await ring.shown(ONE, [(b'{"a":1}', PC), (None, PC)]) == [b'{"a":1}', None]


async def test_what_was_erased_shows_which_receipt_says_why(own, keys, clock):
    ring.use(own)
    stored = await own.seal(ONE, "account:a", b"{}", PC)
    receipt = keys.destroy(ONE, "account:a")
    clock.now += FRESH_S
    assert await ring.shown(ONE, [(stored, PC)]) == [
        b'{"erased":true,"receipt":"%s"}' % str(receipt).encode()
    ]


class NoConnection:
    """Fails the test that writes."""

    async def execute(self, *_: object) -> None:
        raise AssertionError("something was written")


ENTRY = Entry(kind=Kind.CLOCK, ts_ns=1, payload={"a": 1}, actor=ALGO)


async def test_without_a_ring_nothing_is_written():
    ring.use(None)
    with pytest.raises(AuditUnavailable):
        await append(NoConnection(), [(ONE, ENTRY)])


async def test_without_a_key_nothing_is_written(own, keys):
    ring.use(own)
    keys.failure = AuditUnavailable("the signer is away")
    with pytest.raises(AuditUnavailable):
        await append(NoConnection(), [(ONE, ENTRY)])


class Slow:
    """A connection whose rows wait for a lock that nobody gives up."""

    async def execute(self, *_: object) -> None:
        await asyncio.sleep(60)


async def test_a_record_that_cannot_be_written_in_time_is_audit_unavailable(own, monkeypatch):
    ring.use(own)
    monkeypatch.setattr(inbox, "_wait_s", 0.02)
    with pytest.raises(AuditUnavailable):
        await append(Slow(), [(ONE, ENTRY)])


PERSON = "5b0c8a52-93c0-4cf6-9e0e-2d8e0e4f7c11"


@pytest.mark.parametrize(
    ("entry", "subject"),
    [
        ({"acct": "a-1"}, "account:a-1"),
        ({"actor": Actor("human", PERSON)}, f"person:{PERSON}"),
        ({"actor": Actor("human", PERSON), "acct": "a-1"}, "account:a-1"),
        ({"actor": Actor("human", "operator")}, "tenant"),
        ({"actor": Actor("api", PERSON)}, "tenant"),
        ({"subject": "person:p", "acct": "a-1"}, "person:p"),
        ({}, "tenant"),
    ],
)
def test_whom_a_record_is_about(entry, subject):
    made = Entry(**{"kind": Kind.CLOCK, "ts_ns": 1, "payload": {}, "actor": ALGO} | entry)
    assert subject_of(made) == subject
