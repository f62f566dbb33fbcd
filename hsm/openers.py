"""Who may have which sealed secrets opened: by the user who connects, or by the socket that he came to.

A hook's secret is for ingress, a person's factor for the management listener, a broker's secret that an
SDK has to see for the session launcher. The sealed row says its purpose under a MAC; here it is said
who may ask for which. Whoever is not named has nothing opened.

- `[openers]`: where each process has a user of its own, the kernel says who asks (SO_PEERCRED).
- `[doors.NAME]`: each purpose has a socket of its own. A door does not sign unless it says so: who only
  checks senders has no business with orders. With `peer_uids` the kernel says who may come to it, which is
  how dedicated hosts are set up (ansible/roles/portcullis). Where all run as one user, any program of that
  user can go to any door: this is then order among our own processes, and a wall only together with what
  the operator puts around them (a mount namespace each).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from hsm import protocol
from hsm.envelope import SealedSecret, unpack
from hsm.errors import SigningRefused
from hsm.policy import OPENABLE_PURPOSES


class Door(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One more socket of a daemon: `purposes` are opened there, and requests signed where `signs`.

    `peer_uids`: who may connect here besides the daemon's own user; the daemon's `peer_uids`, if not said.
    """

    socket: Path
    purposes: list[str]
    signs: bool = False
    peer_uids: list[int] | None = None


class Leave(msgspec.Struct, frozen=True):
    """What one connection may ask for."""

    purposes: frozenset[str] = frozenset()
    signs: bool = False


NONE = Leave()


def leave_of(openers: Mapping[int, Sequence[str]], uid: int) -> Leave:
    """At the main socket: everybody who may connect signs, and opens what his user is named for."""
    return Leave(frozenset(openers.get(uid, ())), signs=True)


def leave_at(door: Door) -> Leave:
    """At a door: the same for everybody who may connect."""
    return Leave(frozenset(door.purposes), door.signs)


def check_leave(request: protocol.Request, leave: Leave) -> None:
    """Raise SigningRefused for what this connection may not ask; SealBroken for what is no row.

    The purpose that the row says is not proven here. It is before the row opens: an altered one has a
    wrong MAC.
    """
    if isinstance(request, protocol.OpenSecret):
        sealed = unpack(request.sealed)  # a signing key is the token's affair: it never comes out
        if isinstance(sealed, SealedSecret) and sealed.purpose not in leave.purposes:
            raise SigningRefused(f"a secret for {sealed.purpose!r} is not opened for this process")
    elif not leave.signs:
        raise SigningRefused("this socket opens secrets, and does nothing else")


def check_purposes(openers: Mapping[int, Sequence[str]], doors: Mapping[str, Door]) -> None:
    """Raise ValueError where a setting names a purpose that nobody may have."""
    named = {purpose for purposes in openers.values() for purpose in purposes}
    named.update(purpose for door in doors.values() for purpose in door.purposes)
    unknown = sorted(named - OPENABLE_PURPOSES)
    if unknown:
        known = ", ".join(sorted(OPENABLE_PURPOSES))
        raise ValueError(f"no secret is opened for {unknown[0]!r}; purposes are {known}")
