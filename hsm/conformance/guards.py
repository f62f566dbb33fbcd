"""Checks of what keeps a key inside: templates as drawn, and nothing that widens them.

Where a guard is to refuse something, its control comes first: the same call on a key without that
guard is done. A check whose control fails cannot be done, and proves nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsm.conformance.bench import GENERIC, Bench, refused
from hsm.conformance.check import CannotBeDone, DoesNotHold, check, must
from hsm.cryptoki.library import Refused
from hsm.cryptoki.session import oaep
from hsm.templates import (
    ENROL_PRIVATE,
    ENROL_PUBLIC,
    ENROL_SIDE,
    HIDDEN,
    KEY_TYPES,
    OPENED_SECRET,
    SIGN_SIDE,
    SIGNING_KEY,
    TRANSPORT_BITS,
    Template,
)

A = Attribute
KEK, SECRET = bytes(range(32)), bytes(range(64))
TEXT = b"conformance"
BEFORE_ITS_COPY: Template = {A.TOKEN: False, A.EXTRACTABLE: True, A.MODIFIABLE: True}
WIDER: tuple[Template, ...] = (
    {A.EXTRACTABLE: True}, {A.SENSITIVE: False}, {A.SENSITIVE: False, A.EXTRACTABLE: True},
    {A.DECRYPT: True}, {A.WRAP: True}, {A.DERIVE: True}, {A.TOKEN: True},
)  # fmt: skip


def control(what: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """What must work without the guard. Raises CannotBeDone."""
    try:
        return call(*arguments)
    except Refused as error:
        raise CannotBeDone(f"the control failed: {what}: {error}") from None


def _unwrapper(bench: Bench, **more: Any) -> int:
    """A KEK of known value, as the sign token's but for what is given (None: left out)."""
    template = {A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: KeyType.AES, A.TOKEN: False}
    template |= {**SIGN_SIDE["kek"], **{Attribute[name]: value for name, value in more.items()}}
    fitted = bench.profile.fit(
        {name: value for name, value in template.items() if value is not None}
    )
    return bench.session.create({A.VALUE: KEK, **fitted})


def _blob() -> bytes:
    return aes_key_wrap_with_padding(KEK, SECRET)


def _unwrap(bench: Bench, kek: int, template: Template) -> int:
    return bench.session.unwrap(bench.profile.kwp_number, kek, _blob(), template)


def _as_drawn(bench: Bench, key: int, template: Template) -> None:
    """Every attribute reads back as the template says."""
    for name, wanted in bench.profile.fit(template).items():
        if name is A.UNWRAP_TEMPLATE:
            found = bench.session.get_template(key, name)
            must(
                set(found) == {int(one) for one in wanted}, f"{name.name} holds {len(found)} words"
            )
            continue
        value = bench.session.get(key, name)
        if name is A.ALLOWED_MECHANISMS:
            wanted = b"".join(int(one).to_bytes(8, "little") for one in wanted)
        elif isinstance(wanted, bool):
            wanted = bytes([wanted])
        must(value == wanted, f"{name.name} reads {value.hex() or 'nothing'}")


@check("`hsm check` compares what the token says with what was drawn: unwrap-only, verify-only.")
def keys_of_the_sign_side_are_as_drawn(bench: Bench) -> None:
    for role, template in SIGN_SIDE.items():
        named = {A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: KEY_TYPES[role], A.VALUE: KEK}
        key = bench.session.create({**named, **bench.stored(), **bench.profile.fit(template)})
        _as_drawn(bench, key, template)


@check("The ceremony makes a key for a session, and stores a copy that is no longer extractable.")
def keys_of_the_enrol_side_are_as_drawn(bench: Bench) -> None:
    for role, template in ENROL_SIDE.items():
        made = bench.session.generate(
            Mechanism.GENERIC_SECRET_KEY_GEN if role == "mac" else Mechanism.AES_KEY_GEN,
            {A.VALUE_LEN: 32, **bench.profile.fit({**template, **BEFORE_ITS_COPY})},
        )
        final = {A.EXTRACTABLE: False, A.MODIFIABLE: False}
        _as_drawn(bench, bench.session.copy(made, {**bench.stored(), **final}), template)


@check("A ceremony carries a KEK under the other token's RSA key, into its final template.")
def a_kek_travels_into_its_final_template(bench: Bench) -> None:
    size = {A.MODULUS_BITS: TRANSPORT_BITS, A.PUBLIC_EXPONENT: b"\x01\x00\x01"}
    public, private = bench.session.generate_pair(
        Mechanism.RSA_PKCS_KEY_PAIR_GEN,
        {**size, A.WRAP: True, A.ENCRYPT: False, A.VERIFY: False, A.TOKEN: False},
        {**HIDDEN, A.UNWRAP: True, A.DECRYPT: False, A.TOKEN: False},
    )
    pad = oaep(*bench.profile.oaep[:2])
    made = bench.session.generate(
        Mechanism.AES_KEY_GEN,
        {A.VALUE_LEN: 32, **bench.profile.fit({**ENROL_SIDE["kek"], **BEFORE_ITS_COPY})},
    )
    named = {A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: KeyType.AES, **bench.stored()}
    kek = bench.session.unwrap(
        pad, private, bench.session.wrap(pad, public, made),
        {**named, **bench.profile.fit(SIGN_SIDE["kek"])},
    )  # fmt: skip
    _as_drawn(bench, kek, SIGN_SIDE["kek"])
    secret = bench.key(SECRET, GENERIC, EXTRACTABLE=True)
    blob = bench.session.wrap(bench.profile.kwp_number, made, secret)
    key = bench.session.unwrap(bench.profile.kwp_number, kek, blob, bench.profile.fit(SIGNING_KEY))
    song = bench.session.sign(Mechanism.SHA512_HMAC, key, TEXT)
    must(song == hmac.digest(SECRET, TEXT, "sha512"), "it opens another key")


@check("The enrolment key unwraps, and neither decrypts nor signs.")
def the_enrolment_key_is_as_drawn(bench: Bench) -> None:
    size = {A.MODULUS_BITS: 2048, A.PUBLIC_EXPONENT: b"\x01\x00\x01"}
    stored = bench.stored()
    public, private = bench.session.generate_pair(
        Mechanism.RSA_PKCS_KEY_PAIR_GEN,
        {**size, **stored, **bench.profile.fit(ENROL_PUBLIC)},
        {**stored, **bench.profile.fit(ENROL_PRIVATE)},
    )
    _as_drawn(bench, public, ENROL_PUBLIC)
    _as_drawn(bench, private, ENROL_PRIVATE)


@check("Trap 2: without it whoever has the PIN unwraps a secret as readable, and reads it.")
def the_unwrap_template_is_enforced(bench: Bench) -> None:
    bare = _unwrapper(bench, UNWRAP_TEMPLATE=None)
    readable = {**SIGNING_KEY, A.SENSITIVE: False, A.EXTRACTABLE: True}
    key = control("a key without a template unwraps", _unwrap, bench, bare, readable)
    must(bench.session.get(key, A.VALUE) == SECRET, "the control cannot be read: what guards it?")
    kek = _unwrapper(bench)
    _unwrap(bench, kek, SIGNING_KEY)
    for wider in WIDER:
        if refused(_unwrap, bench, kek, {**SIGNING_KEY, **wider}) is None:
            raise DoesNotHold(
                f"unwraps with {', '.join(f'{k.name} {v}' for k, v in wider.items())}"
            )


@check("What an unwrapping leaves out no default may fill: the template says it, or it is refused.")
def what_an_unwrapping_leaves_out_is_not_widened(bench: Bench) -> str | None:
    bare = {A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: GENERIC, A.TOKEN: False}
    said = "filled in"
    for template in ({}, bare, {**bare, A.PRIVATE: True}, {**bare, A.SIGN: True}):
        try:
            key = _unwrap(bench, _unwrapper(bench), template)
        except Refused as error:
            said = error.name
            continue
        for name, wanted in SIGNING_KEY.items():
            if isinstance(wanted, bool):
                found = bench.session.flag(key, name)
                must(found == wanted, f"{name.name} is {found}")
    return said


@check("Secrets that come out again must come out readable, and good for nothing else.")
def an_opened_secret_can_be_read(bench: Bench) -> None:
    kek = _unwrapper(bench, UNWRAP_TEMPLATE=OPENED_SECRET)
    key = _unwrap(bench, kek, bench.profile.fit(OPENED_SECRET))
    must(bench.session.get(key, A.VALUE) == SECRET, "another value")
    must(
        refused(bench.session.sign, Mechanism.SHA512_HMAC, key, TEXT) is not None,
        "it signs",
    )


@check("Another mechanism could open a blob in pieces, or forge a MAC byte by byte.")
def allowed_mechanisms_are_enforced(bench: Bench) -> None:
    uses = {"ENCRYPT": True, "ALLOWED_MECHANISMS": None}
    bare = _unwrapper(bench, **uses)
    control("AES-ECB enciphers", bench.session.encrypt, Mechanism.AES_ECB, bare, bytes(16))
    kek = _unwrapper(bench, ENCRYPT=True)
    done = refused(bench.session.encrypt, Mechanism.AES_ECB, kek, bytes(16))
    must(done is not None, "AES-ECB enciphers with a key that allows KWP alone")


@check("Trap 3: DECRYPT, added later, would open every blob.")
def an_unmodifiable_key_stays_as_it_is(bench: Bench) -> None:
    bare = _unwrapper(bench, MODIFIABLE=None)
    control("a modifiable key gains DECRYPT", bench.session.set, bare, {A.DECRYPT: True})
    kek = _unwrapper(bench)
    for change in ({A.DECRYPT: True}, {A.WRAP: True}, {A.MODIFIABLE: True}, {A.LABEL: "other"}):
        refused(bench.session.set, kek, change)
        for name, value in change.items():
            packed = bytes([value]) if isinstance(value, bool) else str(value).encode()
            must(bench.session.get(kek, name) != packed, f"{name.name} was set")


@check("A copy that may do more, or a stored one under another name, is as bad as a change.")
def an_unmodifiable_key_is_not_copied(bench: Bench) -> None:
    bare = _unwrapper(bench, MODIFIABLE=None)
    control("a modifiable key is copied", bench.session.copy, bare, {A.TOKEN: False})
    kek = _unwrapper(bench)
    for change in ({A.DECRYPT: True}, {A.MODIFIABLE: True}, {A.EXTRACTABLE: True}, {}):
        done = refused(bench.session.copy, kek, {A.TOKEN: False, **change})
        must(done is not None, f"copied with {change or 'nothing changed'}")


@check("What is sensitive or unextractable shows no value.")
def a_sensitive_value_is_not_read(bench: Bench) -> None:
    bare = bench.key(SECRET, GENERIC, SENSITIVE=False, EXTRACTABLE=True)
    value = control("a plain value is read", bench.session.get, bare, A.VALUE)
    must(value == SECRET, "the control reads as something else")
    for sensitive, extractable in ((True, False), (True, True), (False, False)):
        key = bench.key(SECRET, GENERIC, SENSITIVE=sensitive, EXTRACTABLE=extractable)
        done = refused(bench.session.get, key, A.VALUE)
        must(done is not None, f"SENSITIVE {sensitive}, EXTRACTABLE {extractable}: it is read")


@check("Both are one-way: SENSITIVE never goes, EXTRACTABLE never comes back.")
def sensitive_and_unextractable_are_for_good(bench: Bench) -> None:
    key = bench.key(SECRET, GENERIC, A.SIGN)
    for name, value in ((A.SENSITIVE, False), (A.EXTRACTABLE, True)):
        refused(bench.session.set, key, {name: value})
        must(bench.session.flag(key, name) != value, f"{name.name} became {value}")


@check("An unextractable key leaves under no wrapping key.")
def an_unextractable_key_is_not_wrapped(bench: Bench) -> None:
    wrapper = bench.key(KEK, KeyType.AES, A.WRAP)
    kwp = bench.profile.kwp_number
    bare = bench.key(SECRET, GENERIC, EXTRACTABLE=True)
    control("an extractable key is wrapped", bench.session.wrap, kwp, wrapper, bare)
    key = bench.key(SECRET, GENERIC, A.SIGN)
    must(refused(bench.session.wrap, kwp, wrapper, key) is not None, "it is wrapped")


@check("Trap 3: a token that gives usages by itself makes every key a decrypting one.")
def no_usage_is_given_by_default(bench: Bench) -> None:
    template = {A.VALUE_LEN: 32, A.TOKEN: False}
    key = bench.session.generate(Mechanism.AES_KEY_GEN, template)
    uses = (A.ENCRYPT, A.DECRYPT, A.SIGN, A.VERIFY, A.WRAP, A.UNWRAP, A.DERIVE)
    given = [
        use.name
        for use in uses
        if refused(bench.session.get, key, use) is None and bench.session.flag(key, use)
    ]
    must(not given, f"a bare AES key may {', '.join(given)}")


@check("The record of a ceremony shows them: made inside, and never outside.")
def always_sensitive_and_never_extractable_are_told(bench: Bench) -> None:
    uses = {A.SENSITIVE: True, A.EXTRACTABLE: False, A.PRIVATE: True, A.TOKEN: False, A.WRAP: True}
    made = bench.session.generate(Mechanism.AES_KEY_GEN, {A.VALUE_LEN: 32, **uses})
    brought = bench.key(KEK, KeyType.AES, A.WRAP)
    for key, wanted in ((made, True), (brought, False)):
        for name in (A.ALWAYS_SENSITIVE, A.NEVER_EXTRACTABLE):
            found = bench.session.flag(key, name)
            must(found == wanted, f"{name.name} is {found} for a key made {_where(wanted)}")


def _where(inside: bool) -> str:
    return "inside" if inside else "outside"


@check("A digest of a hidden key confirms a guess of it.")
def a_sensitive_key_is_not_digested(bench: Bench) -> None:
    key = bench.key(SECRET, GENERIC, A.SIGN)
    done = refused(bench.session.digest_key, Mechanism.SHA256, key)
    must(done is not None, "C_DigestKey digests it")


@check("Only the security officer makes a wrapping key trusted (CKA_WRAP_WITH_TRUSTED).")
def the_user_makes_no_key_trusted(bench: Bench) -> None:
    key = bench.key(KEK, KeyType.AES, A.WRAP)
    refused(bench.session.set, key, {A.TRUSTED: True})
    trusted = refused(bench.session.flag, key, A.TRUSTED) is None
    must(not (trusted and bench.session.flag(key, A.TRUSTED)), "the user made it trusted")


@check("A saved operation could hold a key schedule.")
def no_operation_state_is_handed_out(bench: Bench) -> None:
    session = bench.open()
    key = session.create(bench.template(GENERIC, A.SIGN, VALUE=SECRET))
    session.begin("C_SignInit", Mechanism.SHA512_HMAC, key)
    done = refused(session.operation_state)
    session.close()
    must(done is not None, "C_GetOperationState answers in the middle of a signature")
