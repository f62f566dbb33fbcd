"""The end of keys, and its proof: destroyed in every token, searched for, and tried.

1. The enrol tokens' halves go first, the MAC key before the others: from then on nothing new is
   sealed under the version. *Crash: what was sealed still opens; the same command goes on.*
2. The sign tokens' halves. *Crash after any of them: rows under it do not open, or do not verify.*
3. In sessions of their own, every object of every token is read: one that carries the tenant's id in
   its CKA_ID or in its label is a failure of the ceremony, whatever the token said to C_DestroyObject.

A running signer drops the session keys that it had unwrapped with a KEK that is gone within
hsm.pool.WRAPPER_SEEN_S, and never unwraps with it again.

The last version of a tenant's keys, or of a pair, is ended by nothing but off-boarding: what is
sealed next needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from pkcs11 import Attribute

from hsm.ceremony import find, tokens
from hsm.envelope import SealedKey, name_of, unpack
from hsm.errors import CeremonyRefused, KeyMissing
from hsm.facts import Facts, KeyObject, Tried, described, record
from hsm.pool import Keys
from hsm.rotation import whole_versions
from hsm.settings import TokenSettings
from hsm.templates import LOG_PREFIX, enrol_label, key_label, log_label, p256_label
from hsm.token import Anchor, enrol_versions
from tenancy.errors import PortcullisError

Belongs = Callable[[Any], bool]


def retire_tenant_keys(settings: TokenSettings, tenant_id: UUID, version: int) -> Facts:
    """Destroy one old version of a tenant's keys. Raises CeremonyRefused for the newest one."""
    with tokens(settings) as (enrol, sign):
        there = whole_versions(enrol + sign, tenant_id)
        if not any(other > version for other in there):
            raise CeremonyRefused(
                f"version {version} of tenant {tenant_id} is its newest: rotate first"
            )
    labels = {key_label(role, tenant_id, version) for role in ("mac", "kek", "open")}
    destroyed = _destroy(settings, lambda key: str(key[Attribute.LABEL]) in labels)
    return record("retire", "kek", str(tenant_id), [version], destroyed=destroyed)


def destroy_tenant_keys(
    settings: TokenSettings, tenant_id: UUID, rows: Sequence[bytes] = ()
) -> Facts:
    """Destroy every key of a tenant, in every token. `rows`: sealed rows of it, tried afterwards.

    Raises CeremonyRefused where anything of the tenant is left, or a row still opens.
    """
    destroyed = _destroy(settings, lambda key: _carries(key, tenant_id))
    after = tried(settings, rows)
    if any(one.outcome != KeyMissing.code for one in after):
        raise CeremonyRefused(f"a row of tenant {tenant_id} does more than miss its key: {after}")
    versions = [int(key.label.rsplit("/v", 1)[-1]) for key in destroyed if "/v" in key.label]
    return record(
        "destroy", "kek", str(tenant_id), versions, destroyed=destroyed, tried=tuple(after)
    )


def retire_enrol_key(settings: TokenSettings, version: int) -> Facts:
    """Destroy an old enrolment pair: what was encrypted to it opens no more. Not the newest one."""
    with tokens(settings) as (enrol, _):
        for anchor in enrol:
            if not any(other > version for other in enrol_versions(anchor.session)):
                raise CeremonyRefused(f"enrolment key v{version} is the newest: rotate first")
    label = enrol_label(version)
    destroyed = _destroy(settings, lambda key: str(key[Attribute.LABEL]) == label)
    return record("retire", "enrol", "", [version], destroyed=destroyed)


def retire_log_key(settings: TokenSettings, origin: str, version: int, successor: int) -> Facts:
    """Destroy an old key of a log, both pairs. `successor`: the version that signs instead; it must be
    there."""
    with tokens(settings) as (_, sign):
        wanted = LOG_PREFIX + log_label(origin, successor)
        if not find(sign[0].session, wanted):
            raise CeremonyRefused(f"token {sign[0].label!r} has no key {wanted!r}")
    label = LOG_PREFIX + log_label(origin, version)
    labels = {label, p256_label(label)}
    destroyed = _destroy(settings, lambda key: str(key[Attribute.LABEL]) in labels)
    return record("retire", "log", origin, [version], destroyed=destroyed)


def tried(settings: TokenSettings, rows: Sequence[bytes]) -> list[Tried]:
    """What each sealed row does at the sign tokens: "opens" if at any of them, or the code of the error."""
    with tokens(settings) as (_, sign):
        keys = [Keys(anchor, keys_max=1) for anchor in sign]
        return [_most_open([_try(each, row) for each in keys]) for row in rows]


def _most_open(outcomes: list[Tried]) -> Tried:
    """One token that opens it is one too many; a missing key is the least."""
    return min(outcomes, key=lambda one: (one.outcome != "opens", one.outcome == KeyMissing.code))


def _try(keys: Keys, row: bytes) -> Tried:
    version = 0
    try:
        sealed = unpack(row)
        version = sealed.kek_version
        if isinstance(sealed, SealedKey):
            keys.load(name_of(row), row)
        else:
            keys.open_secret(row)
    except PortcullisError as error:
        return Tried(name_of(row).hex(), version, error.code)
    return Tried(name_of(row).hex(), version, "opens")


def _destroy(settings: TokenSettings, belongs: Belongs) -> list[KeyObject]:
    """Steps 1 to 3. Raises CeremonyRefused where the search finds what belongs to it."""
    destroyed: list[KeyObject] = []
    with tokens(settings) as (enrol, sign):
        for anchor in (*enrol, *sign):
            for key in sorted(_found(anchor, belongs), key=_mac_first):
                destroyed.append(described(anchor.label, key))
                key.destroy()
    with tokens(settings) as (enrol, sign):
        left = [
            described(anchor.label, key)
            for anchor in (*enrol, *sign)
            for key in _found(anchor, belongs)
        ]
    if left:
        raise CeremonyRefused(f"the tokens still hold {left}")
    return destroyed


def _found(anchor: Anchor, belongs: Belongs) -> list[Any]:
    return [key for key in anchor.session.get_objects({Attribute.TOKEN: True}) if belongs(key)]


def _mac_first(key: Any) -> tuple[bool, str]:
    label = str(key[Attribute.LABEL])
    return not label.startswith("mac/"), label


def _carries(key: Any, tenant_id: UUID) -> bool:
    """By id or by label: a search by label alone would miss what somebody renamed."""
    by_label = str(tenant_id) in str(key[Attribute.LABEL])
    return by_label or bytes(key[Attribute.ID]) == tenant_id.bytes
