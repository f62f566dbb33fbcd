"""The attacks: each a function of a thief and a target that says how it won, or gives None."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_unwrap_with_padding,
)
from pkcs11 import Attribute, KeyType, ObjectClass

from hsm.cryptoki.numbers import name_of_mechanism
from hsm.cryptoki.session import Mechanism, Session, string_data
from hsm.templates import OPENED_SECRET, SIGNING_KEY
from tests.integration.hsm.attacks.thief import OWN_KEY, Target, Thief

A = Attribute
Move = Callable[[Thief, Target], str | None]

USES = (A.ENCRYPT, A.DECRYPT, A.SIGN, A.SIGN_RECOVER, A.VERIFY, A.WRAP, A.UNWRAP, A.DERIVE)
WEAKER = [
    *({use: True} for use in USES),
    {A.EXTRACTABLE: True}, {A.SENSITIVE: False}, {A.PRIVATE: False}, {A.MODIFIABLE: True},
    {A.SENSITIVE: False, A.EXTRACTABLE: True}, {A.MODIFIABLE: True, A.DECRYPT: True},
    {A.DECRYPT: True, A.MODIFIABLE: True}, {A.TRUSTED: True}, {A.ALWAYS_SENSITIVE: False},
    {A.NEVER_EXTRACTABLE: False}, {A.KEY_TYPE: KeyType.GENERIC_SECRET},
    {A.UNWRAP_TEMPLATE: {}}, {A.UNWRAP_TEMPLATE: {A.EXTRACTABLE: True}},
    {A.ALLOWED_MECHANISMS: []}, {A.ALLOWED_MECHANISMS: [0x1081, 0x1082, 0x210A]},
]  # fmt: skip
READABLE = {A.SENSITIVE: False, A.EXTRACTABLE: True}
GRANTED = [list(SIGNING_KEY.items()), list(OPENED_SECRET.items())]
"""What the two unwrapping keys grant, each its own."""
PLAIN_SECRET = {
    A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: KeyType.GENERIC_SECRET, A.TOKEN: False,
    A.PRIVATE: True,
}  # fmt: skip


# ------------------------------------------------------------ the value itself


def read_its_value(thief: Thief, target: Target) -> str | None:
    """C_GetAttributeValue, of CKA_VALUE alone and of every attribute there is."""
    for attribute in (A.VALUE, A.PRIVATE_EXPONENT, A.PRIME_1, A.PRIME_2, *A):
        value = thief.attempt(lambda session, a=attribute: session.get(target.key, a))
        if value and target.given_away(value):
            return f"{attribute.name} could be read"
    return None


def wrap_it_out(thief: Thief, target: Target) -> str | None:
    """C_WrapKey under the thief's own keys, by every mechanism, and open that by hand."""
    own = thief.session.create(
        {
            A.CLASS: ObjectClass.SECRET_KEY, A.KEY_TYPE: KeyType.AES, A.TOKEN: False,
            A.WRAP: True, A.ENCRYPT: True, A.VALUE: OWN_KEY,
        }
    )  # fmt: skip
    for mechanism in thief.every_mechanism():
        blob = thief.attempt(lambda session, m=mechanism: session.wrap(m, own, target.key))
        if blob and any(target.given_away(plain) for plain in opened_by_hand(blob)):
            return f"wrapped by {name_of_mechanism(mechanism.number)}"
    return None


def wrap_it_out_under_rsa(thief: Thief, target: Target) -> str | None:
    """C_WrapKey under an RSA pair of the thief's, by every mechanism."""
    public, _ = thief.session.generate_pair(
        0x0,
        {A.MODULUS_BITS: 2048, A.PUBLIC_EXPONENT: b"\x01\x00\x01", A.WRAP: True, A.TOKEN: False},
        {A.UNWRAP: True, A.DECRYPT: True, A.TOKEN: False, A.PRIVATE: True},
    )
    for mechanism in thief.every_mechanism():
        blob = thief.attempt(lambda session, m=mechanism: session.wrap(m, public, target.key))
        if blob:
            return f"wrapped by {name_of_mechanism(mechanism.number)}"
    return None


def derive_from_it(thief: Thief, target: Target) -> str | None:
    """C_DeriveKey by every mechanism: blocks enciphered by the key, or parts of the key itself."""
    for number in thief.mechanisms:
        for mechanism in (Mechanism(number), string_data(number, bytes(16))):
            for template in ({**PLAIN_SECRET, **READABLE, A.VALUE_LEN: 16}, PLAIN_SECRET):
                key = thief.attempt(
                    lambda session, m=mechanism, t=template: session.derive(m, target.key, t)
                )
                if key is not None:
                    return f"derived by {name_of_mechanism(number)}"
    return None


def try_every_handle(thief: Thief, target: Target) -> str | None:
    """Handles are integers: all small ones, and those around each edge of an integer."""
    edges = [2**bits + near for bits in (16, 31, 32, 63) for near in range(-3, 4)]
    for handle in [*range(3000), *edges, 2**64 - 1]:
        value = thief.attempt(lambda session, h=handle: session.get(h, A.VALUE))
        if value and target.given_away(value):
            return f"handle {handle} could be read"
    return None


# ------------------------------------------------------------ weakening


def set_it_weaker(thief: Thief, target: Target) -> str | None:
    """C_SetAttributeValue, everything that would make it a weaker key."""
    for change in WEAKER:
        before = described(thief, target.key)
        thief.attempt(lambda session, c=change: session.set(target.key, c))
        if gained := widened(before, described(thief, target.key)):
            return f"{change} was set: {gained}"
    return None


def copy_it_weaker(thief: Thief, target: Target) -> str | None:
    """C_CopyObject with everything that would make the copy a weaker key."""
    before = described(thief, target.key)
    for change in WEAKER:
        for token in (False, True):
            template = {A.TOKEN: token, **change}
            copy = thief.make(lambda session, t=template: session.copy(target.key, t))
            if copy is None:
                continue
            after = described(thief, copy)
            thief.attempt(lambda session, c=copy: session.destroy(c))
            if gained := widened(before, after):
                return f"copied with {change}: {gained}"
    return None


def keep_a_copy(thief: Thief, target: Target) -> str | None:
    """A stored copy under another name would outlive the key's destruction."""
    template = {A.TOKEN: True, A.LABEL: "sleeper", A.ID: b"sleeper"}
    copy = thief.make(lambda session: session.copy(target.key, template))
    if copy is None:
        return None
    thief.session.destroy(copy)
    return "a copy would sleep in the token"


# ------------------------------------------------------------ using it for what it is not for


def use_it_otherwise(thief: Thief, target: Target) -> str | None:
    """Each operation that its role does not need, by every mechanism."""
    own = {"kek": "C_UnwrapKey", "open": "C_UnwrapKey", "mac": "C_VerifyInit"}.get(target.aim)
    for function in (
        "C_EncryptInit", "C_DecryptInit", "C_SignInit", "C_SignRecoverInit", "C_VerifyInit",
        "C_VerifyRecoverInit",
    ):  # fmt: skip
        if function == own or (target.aim in ("session", "log") and function == "C_SignInit"):
            continue
        for mechanism in thief.every_mechanism():
            done = thief.attempt(
                lambda session, f=function, m=mechanism: began(session, f, m, target.key)
            )
            if done:
                return f"{function} by {name_of_mechanism(mechanism.number)}"
    return None


def verify_by_another_mechanism(thief: Thief, target: Target) -> str | None:
    """A truncated HMAC (…_GENERAL) would be forged byte by byte."""
    for mechanism in thief.every_mechanism():
        if mechanism.number == 0x251:  # CKM_SHA256_HMAC, its one use
            continue
        if thief.attempt(
            lambda session, m=mechanism: began(session, "C_VerifyInit", m, target.key)
        ):
            return f"verifies by {name_of_mechanism(mechanism.number)}"
    return None


def seal_under_it(thief: Thief, target: Target) -> str | None:
    """C_WrapKey with the key as wrapper: a row of the thief's own making."""
    mine = thief.session.create({**PLAIN_SECRET, **READABLE, A.VALUE: bytes(64)})
    for mechanism in thief.every_mechanism():
        if thief.attempt(lambda session, m=mechanism: session.wrap(m, target.key, mine)):
            return f"wraps by {name_of_mechanism(mechanism.number)}"
    return None


def decrypt_the_blob(thief: Thief, target: Target) -> str | None:
    """C_Decrypt by every mechanism: the blob whole, and block by block as KWP is undone."""
    for mechanism in thief.every_mechanism():

        def block(data: bytes, m: Mechanism = mechanism) -> bytes:
            plain = thief.attempt(lambda session: session.decrypt(m, target.key, data))
            if plain is None or len(plain) != 16:
                raise InvalidUnwrap
            return plain

        whole = thief.attempt(
            lambda session, m=mechanism: session.decrypt(m, target.key, target.blob)
        )
        if whole and target.given_away(whole):
            return f"decrypted by {name_of_mechanism(mechanism.number)}"
        try:
            if target.given_away(unwrapped_by_blocks(target.blob, block)):
                return f"decrypted in blocks by {name_of_mechanism(mechanism.number)}"
        except InvalidUnwrap:
            continue
    return None


# ------------------------------------------------------------ unwrapping


def wider_templates() -> Iterator[list[tuple[int, object]]]:
    """Every template that asks for more than the token grants, plainly or by saying things twice."""
    changes = [
        {A.EXTRACTABLE: True}, {A.SENSITIVE: False}, READABLE, {A.PRIVATE: False}, {A.TOKEN: True},
        {A.KEY_TYPE: KeyType.AES}, {A.KEY_TYPE: KeyType.DES3}, {A.KEY_TYPE: KeyType.RSA},
        {A.CLASS: ObjectClass.PRIVATE_KEY}, {A.CLASS: ObjectClass.PUBLIC_KEY},
        {A.CLASS: ObjectClass.DATA}, {A.CLASS: ObjectClass.CERTIFICATE},
        {A.UNWRAP_TEMPLATE: {}}, {A.UNWRAP_TEMPLATE: READABLE},
        *({use: True} for use in USES if use is not A.SIGN),
        {A.WRAP: True, A.UNWRAP: True, A.ENCRYPT: True, A.DECRYPT: True},
    ]  # fmt: skip
    for change in changes:
        yield list({**SIGNING_KEY, **change}.items())
        yield list({**PLAIN_SECRET, **change}.items())
        yield [*SIGNING_KEY.items(), *change.items()]
        yield [*change.items(), *SIGNING_KEY.items()]
    yield list(PLAIN_SECRET.items())
    yield []


def unwrap_it_wider(thief: Thief, target: Target) -> str | None:
    """C_UnwrapKey by the right mechanism into something that says more, or is more."""
    for template in wider_templates():
        if won := unwrapped(thief, target, Mechanism(0x210A), template):
            return f"unwrapped with {dict(template)}: {won}"
    return None


def unwrap_it_by_another_mechanism(thief: Thief, target: Target) -> str | None:
    """C_UnwrapKey by every mechanism but KWP: CBC and ECB open a blob in pieces."""
    for mechanism in thief.every_mechanism():
        if mechanism.number == 0x210A:
            continue
        for template in GRANTED:
            key = thief.attempt(
                lambda session, m=mechanism, t=template: session.unwrap(
                    m, target.key, target.blob, t
                )
            )
            if key is not None:
                return f"unwrapped by {name_of_mechanism(mechanism.number)}"
    return None


def altered_blobs(blob: bytes) -> Iterator[bytes]:
    """Each bit turned, each shorter one, longer ones, halves exchanged."""
    for at in range(len(blob) * 8):
        turned = bytearray(blob)
        turned[at // 8] ^= 1 << at % 8
        yield bytes(turned)
    yield from (blob[:size] for size in range(len(blob)))
    yield from (blob[size:] for size in range(1, len(blob)))
    yield from (blob + bytes(size) for size in (1, 8, 16))
    yield blob[16:32] + blob[:16] + blob[32:]
    yield blob + blob


def unwrap_one_of(thief: Thief, target: Target, blobs: Iterable[bytes]) -> str | None:
    """C_UnwrapKey of each, by the one mechanism that the key allows."""
    for blob in blobs:
        for template in GRANTED:
            key = thief.attempt(
                lambda session, b=blob, t=template: session.unwrap(0x210A, target.key, b, t)
            )
            if key is not None:
                return f"{blob.hex()} unwraps"
    return None


def use_anothers_blob(thief: Thief, target: Target) -> str | None:
    """C_UnwrapKey of a blob of another tenant's (or of the other role's), by every mechanism."""
    for mechanism in thief.every_mechanism():
        for template in (*GRANTED, []):
            if won := unwrapped(thief, target, mechanism, template):
                return f"{won} by {name_of_mechanism(mechanism.number)}"
    return None


def unwrapped(
    thief: Thief, target: Target, mechanism: Mechanism, template: list[tuple[int, object]]
) -> str | None:
    """How an unwrapping won: the key can be read, wrapped out, or used beyond signing."""
    key = thief.make(lambda s: s.unwrap(mechanism, target.key, target.blob, template))
    if key is None:
        return None
    if target.aim == "another":
        return "another tenant's blob unwrapped"
    won = [use.name for use in USES if use is not A.SIGN and has(thief, key, use)]
    won += [] if has(thief, key, A.SENSITIVE) else ["not sensitive"]
    won += ["extractable"] if has(thief, key, A.EXTRACTABLE) else []
    won += ["stored"] if has(thief, key, A.TOKEN) else []
    won += [] if has(thief, key, A.PRIVATE) else ["public"]
    stray = Target("session", key, lambda _: False, secret=target.secret)
    won += [how for move in (read_its_value, wrap_it_out) if (how := move(thief, stray))]
    thief.attempt(lambda s: s.destroy(key))
    return ", ".join(won) or None


# ------------------------------------------------------------ what the moves share


def has(thief: Thief, key: int, attribute: Attribute) -> bool:
    """Whether it is true; an attribute that the key has not is not true."""
    return bool(thief.attempt(lambda session: session.flag(key, attribute)))


def began(session: Session, function: str, mechanism: Mechanism, key: int) -> bool:
    session.begin(function, mechanism, key)
    return True


def described(thief: Thief, key: int) -> dict[str, object]:
    """What a key may do and whether it may come out, as the token says."""
    attributes = (
        *USES, A.EXTRACTABLE, A.SENSITIVE, A.PRIVATE, A.MODIFIABLE, A.TRUSTED, A.KEY_TYPE,
        A.ALLOWED_MECHANISMS,
    )  # fmt: skip
    said: dict[str, object] = {
        one.name: thief.attempt(lambda session, a=one: session.get(key, a)) for one in attributes
    }
    said["UNWRAP_TEMPLATE"] = thief.attempt(
        lambda session: session.get_template(key, A.UNWRAP_TEMPLATE)
    )
    return said


def widened(before: dict[str, object], after: dict[str, object]) -> str:
    """Which attributes differ: none of these may, in any direction."""
    return ", ".join(name for name in before if before[name] != after[name])


def opened_by_hand(blob: bytes) -> Iterator[bytes]:
    """What the thief reads from a blob under his own key, whichever mechanism made it."""
    yield blob
    for unwrap in (aes_key_unwrap_with_padding, aes_key_unwrap):
        try:
            yield unwrap(OWN_KEY, blob)
        except (InvalidUnwrap, ValueError):
            pass
    if len(blob) % 16 == 0:
        for mode in (ECB(), CBC(bytes(16))):
            decryptor = Cipher(AES(OWN_KEY), mode).decryptor()
            yield decryptor.update(blob) + decryptor.finalize()


def unwrapped_by_blocks(blob: bytes, decrypt: Callable[[bytes], bytes]) -> bytes:
    """SP 800-38F's W⁻¹ with nothing but an AES block: KWP is only as strong as the block's guard."""
    a, r = blob[:8], [blob[at : at + 8] for at in range(8, len(blob), 8)]
    for j in reversed(range(6)):
        for i in reversed(range(len(r))):
            step = len(r) * j + i + 1
            mixed = (int.from_bytes(a, "big") ^ step).to_bytes(8, "big")
            plain = decrypt(mixed + r[i])
            a, r[i] = plain[:8], plain[8:]
    return b"".join(r)
