"""Which passwords are taken, and how they are kept."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from argon2 import Parameters
from argon2.low_level import Type

from tenancy.errors import Invalid
from tenancy.passwords import HASHES_WAITING_MOST, Overloaded, Passwords, check_password

NAMES = ("Acme Capital", "ada.lovelace@example.com", "Ada Lovelace")


def parameters(memory: int = 8) -> Parameters:
    return Parameters(
        type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=1, memory_cost=memory,
        parallelism=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "password",
    [
        "three blind mice", "                 x7Q!m2z", "ßßäöü-neun-zehn", "836402957216",
        "portcullis of a castle", "a" * 250 + "bcdef", "correct horse battery",
    ],
)  # fmt: skip
def test_any_sentence_will_do(password: str) -> None:
    assert check_password(password, names=NAMES) == password


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("elevenchars", "12 to 256"),
        ("abcde" * 60, "12 to 256"),
        ("aaaaaaaaaaaaaaaa", "over and over"),
        ("123412341234", "over and over"),
        ("123456789012", "well-known"),
        ("Portcullis2026", "well-known"),
        ("passwordpassword1", "well-known"),
        ("acme-capital-1", "well-known"),
        ("Lovelace1815!", "well-known"),
        ("ADA.LOVELACE@example", "well-known"),
        ("three\nblind mice", "control characters"),
    ],
)
def test_what_is_guessed_first_is_refused_and_not_repeated(password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        check_password(password, names=NAMES)
    assert password not in str(refused.value)


async def test_one_keyboards_umlaut_is_anothers() -> None:
    passwords = Passwords(parameters())
    kept = await passwords.hash(unicodedata.normalize("NFD", "größer als zwölf"))
    assert await passwords.verify(kept, unicodedata.normalize("NFC", "größer als zwölf"))
    passwords.close()


async def test_a_hash_is_argon2id_and_no_two_are_alike() -> None:
    passwords = Passwords()
    first, second = [await passwords.hash("three blind mice") for _ in range(2)]
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second
    assert await passwords.verify(first, "three blind mice")
    assert not await passwords.verify(first, "three blind mouse")
    passwords.close()


async def test_nothing_kept_fits_nothing_not_even_the_stand_in() -> None:
    passwords = Passwords(parameters())
    assert not await passwords.verify(None, "nobody has this password")
    assert not await passwords.verify("", "nobody has this password")
    passwords.close()


async def test_yesterdays_parameters_are_noticed() -> None:
    yesterday, today = Passwords(parameters()), Passwords(parameters(16))
    kept = await yesterday.hash("three blind mice")
    assert today.outdated(kept)
    assert not yesterday.outdated(kept)
    yesterday.close()
    today.close()


async def test_a_flood_is_told_to_come_back_and_the_loop_goes_on() -> None:
    passwords = Passwords(parameters(8192))
    asked = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(HASHES_WAITING_MOST)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await passwords.verify(None, "x")
    assert await asyncio.gather(*asked) == [False] * HASHES_WAITING_MOST
    passwords.close()
