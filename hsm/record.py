"""What a ceremony did, signed in the token: one file for each, chained, for whoever was not there.

1. Read every object of every token again, with the attributes of its template as the token says them.
2. Write them down with who, when, what was done, our version, and what library and tokens say of
   themselves; with the number and the SHA-256 of the record before.
3. Sign that text with Ed25519, by a key of the first sign token that signs nothing else (made with the
   first record; no daemon asks the token for it), and put it into the records' directory as the next
   file. *Crash before: the keys are made and no record tells of them; the next record lists them.*

A file is two lines: the record as JSON, and `ed25519 <public key> <signature>` in hex over the first
line's bytes. Whoever keeps the public key of the first record, on paper, can check all of them with no
token and no program of ours. Nothing in a record is secret: names, attributes, and public keys.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsm import templates
from hsm.ceremony import NO_DEFAULTS, find, tokens
from hsm.check import TemplateOf, enrol_template, sign_template
from hsm.inventory import flags_of, serial_of
from hsm.settings import TokenSettings
from hsm.templates import RECORD_PREFIX, TemplateMapper
from hsm.token import Anchor
from tenancy.errors import Invalid

KEY_LABEL = RECORD_PREFIX + "v1"


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A token as it describes itself."""

    label: str
    serial: str
    manufacturer: str
    model: str
    firmware: str
    flags: list[str]


class ObjectRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An object as it was read back. An attribute that the token does not tell is "not told"."""

    token: str
    label: str
    kind: str
    attributes: dict[str, str]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One ceremony. `previous`: SHA-256 of the file before, hex; "" in the first."""

    number: int
    previous: str
    at: datetime
    who: str
    what: str
    facts: dict[str, Any] = {}
    portcullis: str
    library: str
    tokens: list[TokenRecord]
    objects: list[ObjectRecord]


class Kept(msgspec.Struct, frozen=True):
    """A record as it lies there: its file's hash, and under whose key."""

    record: Record
    sha256: str
    public_key: str


def write_record(
    settings: TokenSettings,
    directory: Path,
    *,
    what: str,
    who: str,
    at: datetime,
    facts: dict[str, Any] | None = None,
) -> Kept:
    """Steps 1 to 3. Raises Invalid where the records that are there do not hold, and what tokens() does."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(directory):
        return _write(settings, directory, what=what, who=who, at=at, facts=facts or {})


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One writer at a time, of all processes of this host."""
    handle = os.open(directory / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(
    settings: TokenSettings, directory: Path, *, what: str, who: str, at: datetime,
    facts: dict[str, Any],
) -> Kept:  # fmt: skip
    before = read_records(directory)
    with tokens(settings) as (enrol, sign):
        key = _signing_key(sign[0])
        record = Record(
            number=len(before) + 1,
            previous=before[-1].sha256 if before else "",
            at=at,
            who=who,
            what=what,
            facts=facts,
            portcullis=version("portcullis"),
            library=enrol[0].module.described(),
            tokens=[_token(anchor) for anchor in (*enrol, *sign)],
            objects=[
                *(one for anchor in enrol for one in _objects(anchor, enrol_template)),
                *(one for anchor in sign for one in _objects(anchor, sign_template)),
            ],
        )
        text = msgspec.json.encode(record, order="sorted")
        signature = bytes(key.sign(text, mechanism=Mechanism.EDDSA))
        public_key = _public_key(sign[0])
    if before and before[-1].public_key != public_key.hex():
        raise Invalid("the sign token's record key is not the one that signed the records so far")
    content = text + f"\ned25519 {public_key.hex()} {signature.hex()}\n".encode()
    _put(directory / f"{record.number:04}.record", content)
    return Kept(record, sha256(content).hexdigest(), public_key.hex())


def read_records(directory: Path, public_key: str | None = None) -> list[Kept]:
    """All of them, checked: numbers, chain, signatures, one key. `public_key`: the one that was kept.

    Raises Invalid, which names the file and what is wrong with it.
    """
    found: list[Kept] = []
    for number, path in enumerate(sorted(directory.glob("*.record")), 1):
        kept = _read(path)
        record = kept.record
        if path.name != f"{number:04}.record" or record.number != number:
            raise Invalid(f"{path.name}: record {number} is expected here, this is {record.number}")
        if record.previous != (found[-1].sha256 if found else ""):
            raise Invalid(
                f"{path.name}: does not follow the record before: one was changed or removed"
            )
        wanted = public_key or (found[0].public_key if found else kept.public_key)
        if kept.public_key != wanted.lower():
            raise Invalid(f"{path.name}: is signed by another key, {kept.public_key}")
        found.append(kept)
    return found


def _read(path: Path) -> Kept:
    content = path.read_bytes()
    try:
        text, line, rest = content.split(b"\n")
        kind, public_key, signature = line.decode("ascii").split(" ")
        if kind != "ed25519" or rest:
            raise ValueError
        verifier = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        verifier.verify(bytes.fromhex(signature), text)
        record = msgspec.json.decode(text, type=Record)
    except InvalidSignature:
        raise Invalid(f"{path.name}: its signature does not verify") from None
    except (ValueError, msgspec.DecodeError):
        raise Invalid(f"{path.name}: is not a record of a ceremony") from None
    return Kept(record, sha256(content).hexdigest(), public_key)


def _put(path: Path, content: bytes) -> None:
    """Whole or not at all, and never over another one."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o400)
    os.link(fresh, path)
    fresh.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _signing_key(anchor: Anchor) -> Any:
    for key in find(anchor.session, KEY_LABEL):
        if key[Attribute.CLASS] is ObjectClass.PRIVATE_KEY:
            return key
    _, private = anchor.session.generate_keypair(
        KeyType.EC_EDWARDS, label=KEY_LABEL, store=True,
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, capabilities=NO_DEFAULTS,
        public_template=anchor.profile.fit(templates.LOG_PUBLIC),
        private_template=anchor.profile.fit(templates.LOG_PRIVATE),
    )  # fmt: skip
    return private


def _public_key(anchor: Anchor) -> bytes:
    public = next(
        key
        for key in find(anchor.session, KEY_LABEL)
        if key[Attribute.CLASS] is ObjectClass.PUBLIC_KEY
    )
    return bytes(public[Attribute.EC_POINT])[-32:]


def _token(anchor: Anchor) -> TokenRecord:
    token = anchor.session.token
    return TokenRecord(
        label=token.label,
        serial=serial_of(token),
        manufacturer=str(token.manufacturer_id).strip(),
        model=str(token.model).strip(),
        firmware=".".join(map(str, token.firmware_version)),
        flags=flags_of(token),
    )


def _objects(anchor: Anchor, template_of: TemplateOf) -> Iterator[ObjectRecord]:
    for key in anchor.session.get_objects({Attribute.TOKEN: True}):
        kind, label = ObjectClass(key[Attribute.CLASS]), str(key[Attribute.LABEL])
        names = template_of(kind, label) or {}
        yield ObjectRecord(
            token=anchor.label,
            label=label,
            kind=kind.name,
            attributes={name.name: _told(anchor, key, name) for name in names},
        )


def _told(anchor: Anchor, key: Any, name: Attribute) -> str:
    try:
        if name is Attribute.UNWRAP_TEMPLATE:
            inner = anchor.module.nested(anchor.session.handle, key.handle, int(name))  # type: ignore[attr-defined]
            mapper = TemplateMapper()
            named = {
                Attribute(each): mapper.unpack_attributes(Attribute(each), value)
                for each, value in inner.items()
            }
            return "; ".join(
                f"{each.name}={_plain(value)}" for each, value in sorted(named.items())
            )
        return _plain(key[name])
    except pkcs11.PKCS11Error:
        return "not told"


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    return getattr(value, "name", None) or str(value)
