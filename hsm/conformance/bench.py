"""The token as a check has it: a logged-in session, keys of known value, all gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pkcs11 import Attribute, KeyType, ObjectClass

from hsm.conformance.check import CannotBeDone, NotTried
from hsm.conformance.visitor import Errand, send
from hsm.cryptoki.library import Library, Refused, text_of
from hsm.cryptoki.session import Session
from hsm.profile import Profile
from hsm.templates import USES, Template

A = Attribute
GENERIC = KeyType.GENERIC_SECRET


class Bench:
    """One token, logged in. `reserved` is what its library is initialised with."""

    def __init__(
        self, library: Library, profile: Profile, slot: int, pin: str, *, reserved: str, own: bool
    ) -> None:
        """`own`: the token was made for this run, and may be treated badly."""
        self.library = library
        self.profile = profile
        self.slot = slot
        self.own = own
        self._label = text_of(library.token(slot).label)
        self._pin = pin
        self._reserved = reserved
        self._stored: list[bytes] = []
        self.session = library.open(slot)
        self.session.login(pin)

    def open(self) -> Session:
        """One more session under the same login."""
        return self.library.open(self.slot)

    def log_in_again(self) -> None:
        """After a check that logged out."""
        self.session.login(self._pin)

    def start_again(self) -> None:
        """C_Finalize, C_Initialize, and a fresh login: what a restart without a new process is."""
        self.library.finalize()
        self.library.initialize(self._reserved)
        self.slot = self.library.slot_of(self._label)
        self.session = self.library.open(self.slot)
        self.session.login(self._pin)

    def wrong_pins(self, count: int) -> str:
        """What the token says to the last of so many wrong PINs: at our own token, or not at all."""
        if not self.own:
            raise NotTried("no wrong PIN is tried at a token that was not made for it")
        self.session.logout()
        said = ""
        for _ in range(count):
            refusal = refused(self.session.login, "not " + self._pin)
            said = refusal.name if refusal else "nothing: it took a wrong PIN"
        return said

    def key(self, value: bytes, kind: KeyType, *uses: Attribute, **more: Any) -> int:
        """A session key of that value with only those uses; further attributes by name."""
        return self.session.create(self.template(kind, *uses, VALUE=value, **more))

    def template(self, kind: KeyType, *uses: Attribute, **more: Any) -> Template:
        """Of a session secret key, sensitive and unextractable unless said otherwise."""
        template: Template = {
            A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: kind, A.TOKEN: False, A.PRIVATE: True,
            A.SENSITIVE: True, A.EXTRACTABLE: False, **{use: use in uses for use in USES},
        }  # fmt: skip
        template.update({Attribute[name]: value for name, value in more.items()})
        return self.profile.fit(
            {name: value for name, value in template.items() if value is not None}
        )

    def stored(self) -> Template:
        """Attributes for a stored object: it is removed at the end by its label."""
        identity = b"portcullis-conformance-" + secrets.token_hex(8).encode()
        self._stored.append(identity)
        return {A.TOKEN: True, A.ID: identity, A.LABEL: identity.decode()}

    def visited(self) -> str:
        """Another process leaves a stored, private object: its label. Raises CannotBeDone."""
        identity = self.stored()[A.ID].decode()
        errand = Errand(str(self.library.path), self._reserved, self._label, self._pin, identity)
        if failure := send(errand):
            raise CannotBeDone(f"another process could not make an object: {failure}")
        return identity

    def clean_up(self) -> None:
        """Remove every stored object that was made here."""
        for identity in self._stored:
            for key in self.session.find({A.LABEL: identity.decode()}):
                self.session.destroy(key)

    @contextmanager
    def temporary(self, *keys: int) -> Iterator[None]:
        """Destroy session keys afterwards: some tokens hold few."""
        try:
            yield
        finally:
            for key in keys:
                self.session.destroy(key)


def refused(call: Callable[..., Any], *arguments: Any) -> Refused | None:
    """The refusal of a call that should be refused, or None where it was done."""
    try:
        call(*arguments)
    except Refused as error:
        return error
    return None
