"""One token, logged in once: the anchor session and the sessions that share its login.

Closing the session that logged in logs the whole token out and kills every private session key,
so the anchor is opened first and lives as long as the process. The others carry no PIN. A PIN
(hsm/pins.py) is used once, and never tried again.
"""

from __future__ import annotations

import pkcs11
from pkcs11 import Attribute, ObjectClass
from pkcs11.exceptions import (
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    UserPinNotInitialized,
)

from hsm.errors import PinRefused, TokenLost
from hsm.module import Module
from hsm.templates import TemplateMapper, enrol_version

_REFUSALS = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, UserPinNotInitialized)


class Anchor:
    """A token that is logged in, by its label."""

    def __init__(self, module: Module, label: str, pin: str) -> None:
        """Log in, once. Raises PinRefused; KeyMissing where there is no such token."""
        self.module = module
        self.profile = module.profile
        self.label = label
        self.wrappers_seen: dict[str, float] = {}
        """When each KEK was last there, by label: what one thread saw, the others need not ask (hsm/pool.py)."""
        self._token = module.slot_of(label)
        if self._token.flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
            raise PinRefused(f"the PIN of token {label!r} is locked: its security officer unlocks")
        try:
            self.session = self._token.open(
                rw=True, user_pin=pin, attribute_mapper=TemplateMapper()
            )
        except _REFUSALS as error:
            raise PinRefused(
                f"token {label!r} refused the PIN ({type(error).__name__}); it is not tried again"
            ) from None
        except PKCS11Error as error:
            raise TokenLost(f"token {label!r}: login failed: {type(error).__name__}") from None

    def __repr__(self) -> str:
        return f"<Anchor {self.label}>"

    def open_session(self) -> pkcs11.Session:
        """One more session under the same login, for one thread."""
        try:
            return self._token.open(rw=True, attribute_mapper=TemplateMapper())
        except PKCS11Error as error:
            raise TokenLost(f"token {self.label!r}: {type(error).__name__}") from None

    def close(self) -> None:
        """Log out: every private session key of this process dies."""
        self.session.close()


def enrol_versions(session: pkcs11.Session) -> list[int]:
    """Versions of the enrolment pair whose private half is here, oldest first."""
    keys = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.TOKEN: True})
    found = [enrol_version(str(key[Attribute.LABEL])) for key in keys]
    return sorted(version for version in found if version is not None)
