"""What tokens say of themselves: without a login for anybody, with one which versions of keys they hold."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import pkcs11
from pkcs11 import Attribute

from hsm import ceremony
from hsm.ceremony import tokens
from hsm.settings import TokenSettings


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One token. Counts that the library does not tell are None; so are `keys` without a login."""

    label: str
    serial: str
    manufacturer: str
    model: str
    flags: list[str]
    """PKCS#11's: whether the PIN was mistyped (USER_PIN_COUNT_LOW), is locked, is yet to be set."""
    mechanisms: list[str]
    keys: list[str] | None = None
    """`label v1, v2`: each key's versions."""


def token_facts(settings: TokenSettings, *, keys: bool) -> list[TokenFacts]:
    """Every token of every HSM. Raises KeyMissing; with `keys` also PinRefused."""
    held = _held(settings) if keys else {}
    with ceremony.library(settings) as module:
        found = []
        for pair in settings.pairs:
            for label in (pair.enrol_label, pair.sign_label):
                token = module.slot_of(label)
                found.append(_facts(token, held.get(label)))
        return found


def serial_of(token: pkcs11.Token) -> str:
    """As it is printed on paper: hex, or the text that it is."""
    raw = token.serial
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
    return text.strip()


def flags_of(token: pkcs11.Token) -> list[str]:
    return sorted(flag.name or "" for flag in pkcs11.TokenFlag if flag in token.flags)


def _facts(token: pkcs11.Token, keys: list[str] | None) -> TokenFacts:
    return TokenFacts(
        label=token.label,
        serial=serial_of(token),
        manufacturer=str(token.manufacturer_id).strip(),
        model=str(token.model).strip(),
        flags=flags_of(token),
        mechanisms=sorted(
            getattr(each, "name", None) or hex(each) for each in token.slot.get_mechanisms()
        ),
        keys=keys,
    )


def _held(settings: TokenSettings) -> dict[str, list[str]]:
    with tokens(settings) as (enrol, sign):
        return {anchor.label: _versions(anchor.session) for anchor in (*enrol, *sign)}


def _versions(session: pkcs11.Session) -> list[str]:
    versions: dict[str, set[int]] = defaultdict(set)
    for key in session.get_objects({Attribute.TOKEN: True}):
        label, mark, version = str(key[Attribute.LABEL]).rpartition("/v")
        if mark and version.isdecimal():
            versions[label].add(int(version))
        else:
            versions[label + mark + version].add(1)
    return [
        f"{label} " + ", ".join(f"v{version}" for version in sorted(found))
        for label, found in sorted(versions.items())
    ]
