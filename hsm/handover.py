"""A broker's secret on its way from the signer to the one session process whose SDK has to see it.

Some brokers' SDKs sign by themselves. Their secret is sealed as every other (purpose `sdk`) and is
opened for one process only, at its login:

1. The launcher connects to the signer, asks there for the secret, and reads nothing.
2. It executes the session process, which inherits that connection (as a pipe whose other end is the
   signer) and nothing else of the launcher's: no environment, no other descriptor, no memory. The
   launcher closes its own end.
3. The session process reads the one answer into a buffer of its own, closes the pipe, logs in, and
   overwrites the buffer.

A crash after 1 or 2 ends the pipe with the answer in it; the kernel throws it away. The next try asks
again. The plain text is in the launcher at no time; in the signer only while it answers; never in a
command line, an environment or a file.

What Python cannot do: an SDK takes a `str`, which cannot be overwritten, and may keep it as long as it
likes. A session process therefore runs with `FREED_IS_OVERWRITTEN`: what is freed there is overwritten
by the allocator, the copies of strings included. What the SDK keeps, stays; docs/hsm/memory.md.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from hsm import protocol
from hsm.client import error_of
from hsm.errors import SignerUnavailable
from hsm.hardening import FREED_IS_OVERWRITTEN, harden
from tenancy.errors import UNREADABLE

PURPOSE = "sdk"
ANSWER_MAX_BYTES = 4096
CONNECT_S = 2.0


class _Handed(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """protocol.Done, read in place: `value` is a window into the buffer, not a copy of it."""

    id: int
    value: memoryview


_answers: msgspec.msgpack.Decoder[_Handed | protocol.Refused] = msgspec.msgpack.Decoder(
    _Handed | protocol.Refused
)


async def launch(
    command: Sequence[str],
    *,
    door: Path,
    sealed: bytes,
    tenant_id: UUID,
    subject: str,
    environment: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Run `command --secret-fd N` with the secret of `sealed` waiting at descriptor N.

    `door`: the signer's socket for purpose `sdk`. `environment` is the whole of it, but for
    FREED_IS_OVERWRITTEN. Raises SignerUnavailable; that the signer refuses, the child learns.
    """
    pipe = await asyncio.to_thread(_ask, door, protocol.OpenSecret(1, sealed, tenant_id, subject))
    with pipe:
        return await asyncio.create_subprocess_exec(
            *command, "--secret-fd", str(pipe.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(pipe.fileno(),),
            env={**(environment or {}), **FREED_IS_OVERWRITTEN},
        )  # fmt: skip


def _ask(door: Path, request: protocol.OpenSecret) -> socket.socket:
    """A connection on which the question is asked and the answer unread. Raises SignerUnavailable."""
    pipe = socket.socket(socket.AF_UNIX)
    try:
        pipe.settimeout(CONNECT_S)
        pipe.connect(str(door))
        pipe.sendall(protocol.frame(request))
        pipe.setblocking(True)
    except OSError as error:
        pipe.close()
        raise SignerUnavailable(f"nothing answers at {door}: {type(error).__name__}") from None
    return pipe


class Handed:
    """The secret, for the time of one login. Has no repr, and is empty afterwards."""

    def __init__(self, plain: memoryview) -> None:
        self._plain = plain

    def __repr__(self) -> str:
        return "<Handed secret>"

    def view(self) -> memoryview:
        """The bytes where they are. For an SDK that takes a buffer."""
        return self._plain

    def text(self) -> str:
        """A copy as text, for an SDK that wants one: keep no reference to it, and it is overwritten
        when the SDK lets go of it. Raises SignerUnavailable where it is not ASCII."""
        try:
            return str(self._plain, "ascii")
        except UnicodeDecodeError:
            pass  # its error would carry the secret
        raise SignerUnavailable("the secret handed over is not text")


@contextmanager
def handed(descriptor: int, timeout_s: float = 10.0) -> Iterator[Handed]:
    """In the session process, first thing: the secret, once, until the block is left.

    Takes the descriptor over and closes it. Raises what the signer answers (SigningRefused, SealBroken,
    TokenLost, …), SignerUnavailable where no whole answer comes in time, ConfigurationError where core
    dumps cannot be ruled out.
    """
    harden()
    os.set_inheritable(descriptor, False)
    buffer = bytearray(ANSWER_MAX_BYTES)
    try:
        with socket.socket(fileno=descriptor) as pipe:
            pipe.settimeout(timeout_s)
            length = _read(pipe, buffer)
        answer = _answer(buffer, length)
        with answer.value:
            yield Handed(answer.value)
    finally:
        buffer[:] = bytes(len(buffer))


def _read(pipe: socket.socket, buffer: bytearray) -> int:
    """One frame into `buffer`; how long its body is. Raises SignerUnavailable."""
    got, wanted = 0, 4
    with memoryview(buffer) as window:
        while got < wanted:
            try:
                count = pipe.recv_into(window[got:wanted])
            except OSError as error:
                raise SignerUnavailable(f"no secret came: {type(error).__name__}") from None
            if count == 0:
                raise SignerUnavailable("the signer ended before it had answered")
            got += count
            if got == 4 and wanted == 4:
                wanted = 4 + int.from_bytes(window[:4], "big")
                if not 4 < wanted <= len(buffer):
                    raise SignerUnavailable("the signer's answer has no length that a secret has")
    return wanted - 4


def _answer(buffer: bytearray, length: int) -> _Handed:
    """Raises the signer's refusal; SignerUnavailable for what is no answer."""
    with memoryview(buffer)[4 : 4 + length] as body:
        try:
            answer = _answers.decode(body)
        except UNREADABLE:
            raise SignerUnavailable("the signer's answer cannot be read") from None
    if isinstance(answer, protocol.Refused):
        raise error_of(answer)
    return answer
