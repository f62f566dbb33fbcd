"""Passwords: which ones are taken (NIST SP 800-63B-4, 3.1.1) and how they are kept (Argon2id, RFC 9106).

Taken: 12 to 256 characters after NFC, any characters, no rules of composition, nothing that a
guesser tries first: well-known passwords, one character over and over, or little beside the
names of the product, the tenant and the person.

Kept: Argon2id with RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes), hashed in threads
of their own, two at a time: the event loop never waits, memory stays at 128 MiB, and where too
many wait already the next is told to come back (Overloaded) rather than put behind them.
A hash made with other parameters is made anew at the next login.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import Parameters, PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from tenancy.errors import Invalid, Retry, Unavailable

SHORTEST = 12
LONGEST = 256
HASHES_AT_ONCE = 2
HASHES_WAITING_MOST = 64

T = TypeVar("T")

_PRODUCT = ("portcullis", "gateway")
_FIRST_GUESSES = frozenset(
    {
        "password", "passwort", "letmein", "welcome", "changeme", "qwerty", "qwertyuiop", "asdfghjkl",
        "zxcvbnm", "iloveyou", "administrator", "trustno", "secret", "123456789012", "1234567890",
        "0123456789", "abcdefghijkl", "correcthorsebatterystaple", "1qaz2wsx3edc", "passw0rd", "p@ssw0rd",
    }
)  # fmt: skip
_LEAST_OF_ITS_OWN = 8
_LEAST_DIFFERENT = 5


class Overloaded(Unavailable):
    """Too many passwords wait to be checked; this one was not."""

    code = "overloaded"
    retry = Retry.SAFELY


def normal_password(text: str) -> str:
    """The spelling that is hashed: NFC, so that one keyboard's ü is another's."""
    return unicodedata.normalize("NFC", text)


def check_password(password: str, *, names: Iterable[str]) -> str:
    """The password to hash. Raises Invalid, saying which rule; never with the password in it.

    `names`: the tenant's, the person's, their e-mail address.
    """
    text = normal_password(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise Invalid(f"password: {SHORTEST} to {LONGEST} characters are needed, got {len(text)}")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise Invalid("password: control characters cannot be typed again everywhere")
    rest = text.casefold()
    if len(set(rest)) < _LEAST_DIFFERENT:
        raise Invalid("password: the same few characters over and over are guessed first")
    words = {word for name in names for word in re.split(r"[\W_]+", name.casefold())}
    for word in sorted({*words, *_PRODUCT, *_FIRST_GUESSES}, key=len, reverse=True):
        if len(word) >= 3:
            rest = rest.replace(word, "")
    if rest != text.casefold() and len(rest) < _LEAST_OF_ITS_OWN:
        raise Invalid(
            "password: too little of it is not a well-known password or a name of yours, the"
            " company's or the product's; a sentence of a few words is good"
        )
    return text


class Passwords:
    """Hashes and checks, off the event loop."""

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="argon2")
        self._nobody = self._hasher.hash("nobody has this password")
        self._waiting = 0

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The PHC string to keep. Raises Overloaded."""
        return await self._off_loop(lambda: self._hasher.hash(normal_password(password)))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Is it the one? Where nothing is kept the same work is done, and the answer is no.

        Raises Overloaded.
        """
        text = normal_password(password)
        return await self._off_loop(lambda: self._fits(kept or self._nobody, text)) and bool(kept)

    def outdated(self, kept: str) -> bool:
        """Was it made with other parameters than today's?"""
        return self._hasher.check_needs_rehash(kept)

    def _fits(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._waiting >= HASHES_WAITING_MOST:
            raise Overloaded("too many passwords are being checked; nothing was done")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
