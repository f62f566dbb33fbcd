"""What clients and the two daemons say to each other over a Unix socket.

A frame is four bytes of length (big endian) and one msgpack array whose first element is the
kind. Each request has an id, answers carry it back in any order, many are in flight: whoever has
several frames ready writes them at once, and that is all there is to a batch. Every failure is a
`Refused` with a stable code; only a frame that cannot be read closes the connection.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from hsm.envelope import MAX_SEALED_BYTES
from hsm.errors import MalformedRequest
from tenancy.errors import UNREADABLE, PortcullisError

MAX_FRAME_BYTES = 128 * 1024
MAX_BODY_BYTES = 64 * 1024
MAX_TEXT_CHARS = 4096
"""In path and query together."""

_LENGTH = struct.Struct(">I").unpack_from


class _Request(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    id: int


class Status(_Request, frozen=True, array_like=True, tag="status"):
    """How the daemon is. Answered by `Figures`."""


class SignRequest(_Request, frozen=True, array_like=True, tag="sign"):
    """Sign a broker request. `sealed` may be left out while the daemon holds the key `name`."""

    name: Annotated[bytes, Meta(min_length=16, max_length=16)]  # envelope.name_of(sealed)
    sealed: Annotated[bytes, Meta(max_length=MAX_SEALED_BYTES)] | None
    tenant_id: UUID
    account_id: UUID
    scheme: str
    method: str
    path: str
    query: str
    body: Annotated[bytes, Meta(max_length=MAX_BODY_BYTES)]
    timestamp: int


class SignNote(_Request, frozen=True, array_like=True, tag="note"):
    """Sign a checkpoint with the log key of that label; Ed25519, or ECDSA P-256 of a second pair's."""

    label: str
    text: bytes


class OpenSecret(_Request, frozen=True, array_like=True, tag="open"):
    """Give back a sealed secret whose purpose allows it."""

    sealed: bytes
    tenant_id: UUID
    subject: str


class PublicKey(_Request, frozen=True, array_like=True, tag="public"):
    """The public key of a log: Ed25519, 32 bytes; of a second pair SubjectPublicKeyInfo, DER."""

    label: str


class Refusals(_Request, frozen=True, array_like=True, tag="refusals"):
    """The journal's lines numbered above `after`, at most so many. Answered by `RefusalList`."""

    after: int
    most: int


class Forget(_Request, frozen=True, array_like=True, tag="forget"):
    """Nobody waits any more for the answer to the request of this id on this connection. No answer."""


class EnrolKey(_Request, frozen=True, array_like=True, tag="enrol_key"):
    """The RSA public key to encrypt to, PEM."""


class SealKey(_Request, frozen=True, array_like=True, tag="seal_key"):
    """Seal an HMAC key that was encrypted to the enrol key."""

    tenant_id: UUID
    account_id: UUID
    broker: str
    ciphertext: bytes


class SealSecret(_Request, frozen=True, array_like=True, tag="seal_secret"):
    """Seal a secret that comes out again, encrypted to the enrol key."""

    tenant_id: UUID
    subject: str
    purpose: str
    ciphertext: bytes


Request = (
    Status | SignRequest | SignNote | OpenSecret | PublicKey | Refusals | Forget
    | EnrolKey | SealKey | SealSecret
)  # fmt: skip


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """The value asked for. It may be a secret: it has no repr."""

    id: int
    value: bytes

    def __repr__(self) -> str:
        return f"<Done {self.id}>"


class Figures(msgspec.Struct, frozen=True, array_like=True, tag="figures"):
    id: int
    figures: dict[str, Any]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    id: int
    code: str
    text: str


class RefusalList(msgspec.Struct, frozen=True, array_like=True, tag="refusal_list"):
    """`journal`: its own name. `last`: the number of its last line. `lines`: hsm.refusals reads them."""

    id: int
    journal: UUID
    last: int
    lines: list[bytes]


Answer = Done | Figures | Refused | RefusalList

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def row_thread(request: Request) -> int:
    """Which token thread a sealed row always meets (modulo their number); 0 for what shows none."""
    if isinstance(request, SignRequest):
        return request.name[0]
    return request.sealed[-1] if isinstance(request, OpenSecret) and request.sealed else 0


def frame(message: Request | Answer) -> bytes:
    """The bytes on the wire. Raises MalformedRequest beyond MAX_FRAME_BYTES."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise MalformedRequest(f"a message of {len(body)} bytes; at most {MAX_FRAME_BYTES}")
    return len(body).to_bytes(4, "big") + body


def refusal(request_id: int, error: PortcullisError) -> bytes:
    """The frame that says no, and why, by the error's code."""
    return frame(Refused(request_id, error.code, str(error)))


def read_request(body: bytes) -> Request:
    """Raises MalformedRequest; its text names the field."""
    try:
        request = _requests.decode(body)
    except UNREADABLE as error:
        raise MalformedRequest(f"the request cannot be read: {error}") from None
    if isinstance(request, SignRequest) and len(request.path) + len(request.query) > MAX_TEXT_CHARS:
        raise MalformedRequest(f"path and query: together at most {MAX_TEXT_CHARS} characters")
    return request


def read_answer(body: bytes) -> Answer:
    """Raises MalformedRequest."""
    try:
        return _answers.decode(body)
    except UNREADABLE as error:
        raise MalformedRequest(f"the answer cannot be read: {error}") from None


class FrameReader:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are complete now. Raises MalformedRequest for one that is too long."""
        buffer = self._buffer + data if self._buffer else data
        bodies, at = [], 0
        while len(buffer) - at >= 4:
            length = _LENGTH(buffer, at)[0]
            if length > MAX_FRAME_BYTES:
                raise MalformedRequest(f"a frame of {length} bytes; at most {MAX_FRAME_BYTES}")
            if len(buffer) - at - 4 < length:
                break
            bodies.append(buffer[at + 4 : at + 4 + length])
            at += 4 + length
        self._buffer = buffer[at:]
        return bodies
