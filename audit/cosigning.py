"""Ask the witnesses of a policy to cosign a checkpoint (C2SP tlog-witness, the log's side).

1. To each witness, all at once: the size that it has seen, as far as we know, the proof from there, the
   checkpoint. 2. 409 says another size: ask again from there, if it is one of ours. 3. 200 brings lines;
   those of the witness's own key that verify are kept, whatever else came is ignored.

What a witness says decides, by `heard()`, purely:

- 422, or 409 with a size above ours: it has cosigned a tree, signed by our key, that this one does not
  extend. That is what witnesses are for: `Refused`, and the log halts. (No 409 of that kind can come of
  a race: a checkpoint is kept in the database before any witness is asked for it, and there is one recorder.)
- anything else that is no cosignature, and no answer at all: that witness is missing this time. Whether
  enough are there is the quorum's matter; a quorum that is missing raises an alarm and stops nothing.

A witness that refuses wrongly stops trading as one that refuses rightly does: who runs it was chosen by
whoever wrote the policy, and two people can let trading go on. What it shows for its word is kept with the
halt, and whether that proves it: another checkpoint under our own key. Nobody else on the way may refuse in
its name, so a witness that is not on this machine is asked by https alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
import structlog

from audit import merkle, metrics
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.halts import Refused
from audit.malformed import Malformed
from audit.note import VerifierKey, split_note
from audit.policy import Policy, Quorum, Witness, check_quorum
from audit.tiles import Reader
from audit.witness import request

TRIES = 4
MOST_ANSWER_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")

log_event = structlog.get_logger()


@dataclass(frozen=True)
class Heard:
    """An answer as it came."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Cosigned:
    """The witness's own lines, each verified."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Again:
    """Ask once more, from the size that the witness knows."""

    old: int


@dataclass(frozen=True)
class Inconsistent:
    """The witness has seen a history that this checkpoint does not extend."""

    why: str


@dataclass(frozen=True)
class Missing:
    """No cosignature from this witness, and nothing that speaks against the log."""

    why: str


Outcome = Cosigned | Again | Inconsistent | Missing


def heard(answer: Heard, witness: Witness, old: int, head: Checkpoint) -> Outcome:
    """What the answer to "`head`, from size `old`" means. Pure."""
    if answer.status == 200:
        return _lines(answer.body, witness, head)
    if answer.status == 409:
        match = _SIZE.fullmatch(answer.body)
        if match is None or answer.content_type.split(";")[0].strip() != SIZE_TYPE:
            return Missing("a 409 that names no size")
        size = int(match[1])
        if size > head.size:
            return Inconsistent(f"it has cosigned {size} leaves; we have {head.size}")
        return Missing(f"it says twice that it knows {size}") if size == old else Again(size)
    if answer.status == 422:
        said = answer.body[:200].decode("utf-8", "replace").strip()
        return Inconsistent(f"from size {old} to {head.size} it finds no consistency: {said}")
    return Missing(f"it answers {answer.status}")


def _lines(body: bytes, witness: Witness, head: Checkpoint) -> Outcome:
    text = head.text()
    own = (witness.key.name, witness.key.key_id)
    try:
        _, lines = split_note(text.encode() + b"\n" + body)
        good = [
            f"— {name} {request.base64_of(key_id + signature)}\n"
            for name, key_id, signature in lines
            if (name, key_id) == own and witness.key.time_of(text, signature)
        ]
    except Malformed as error:
        return Missing(f"its cosignature is none: {error}")
    return Cosigned(tuple(good)) if good else Missing("no line under the key that the policy names")


class Witnesses:
    """The witnesses of one policy, for one log. `timeout_s`: for all of them together, each time."""

    def __init__(self, policy: Policy, *, timeout_s: float) -> None:
        """Raises Malformed for a witness's address that is neither https nor on this machine."""
        check_addresses(policy)
        self.policy = policy
        self._timeout_s = timeout_s
        self._known: dict[str, int] = {}
        self.quorum: Quorum | None = None
        """Of the checkpoint that was asked for last."""

    async def cosign(
        self, keys: Sequence[VerifierKey], head: Checkpoint, note: bytes, reader: Reader
    ) -> tuple[bytes, list[Line]]:
        """The note with what could be had in time, and which lines those are. Raises Refused.

        `keys`: the log's own, by which a witness's evidence is judged.
        """
        asked = [one for one in self.policy.witnesses if one.url is not None]
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s), auto_decompress=False
        ) as session:
            outcomes = await asyncio.gather(
                *(self._one(session, one, head, note, reader) for one in asked)
            )
            for witness, outcome in zip(asked, outcomes, strict=True):
                if isinstance(outcome, Inconsistent):
                    evidence = await _evidence(session, witness, head.origin)
                    shown = judged(evidence, keys, head, reader)
                    raise Refused(f"witness {_shown(witness)}: {outcome.why}; {shown}", evidence)
        lines = [
            Line(_shown(witness), text)
            for witness, outcome in zip(asked, outcomes, strict=True)
            if isinstance(outcome, Cosigned)
            for text in outcome.lines
        ]
        whole = note + "".join(line.text for line in lines).encode()
        self.quorum = check_quorum(whole, self.policy)
        return whole, lines

    async def _one(
        self,
        session: aiohttp.ClientSession,
        witness: Witness,
        head: Checkpoint,
        note: bytes,
        reader: Reader,
    ) -> Outcome:
        outcome: Outcome = Missing("it keeps naming other sizes")
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome = await self._until_known(session, witness, head, note, reader)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            outcome = Missing(f"{type(error).__name__}: {error}")
        if isinstance(outcome, Missing):
            metrics.WITNESS_FAILURES.labels(_shown(witness)).inc()
            log_event.warning("audit_witness_missing", witness=_shown(witness), why=outcome.why)
        return outcome

    async def _until_known(
        self,
        session: aiohttp.ClientSession,
        witness: Witness,
        head: Checkpoint,
        note: bytes,
        reader: Reader,
    ) -> Outcome:
        outcome: Outcome = Again(min(self._known.get(witness.name, 0), head.size))
        for _ in range(TRIES):
            if not isinstance(outcome, Again):
                break
            old = outcome.old
            proof = await asyncio.to_thread(_proof, old, head.size, reader)
            answer = await _post(session, witness, request.write(old, proof, note))
            outcome = heard(answer, witness, old, head)
        if isinstance(outcome, Cosigned):
            self._known[witness.name] = head.size
        return Missing("it keeps naming other sizes") if isinstance(outcome, Again) else outcome


def judged(
    evidence: str | None, keys: Sequence[VerifierKey], head: Checkpoint, reader: Reader
) -> str:
    """What a witness's evidence is worth, in words: proof is a checkpoint under our key that is not ours."""
    if evidence is None:
        return "it shows nothing for it"
    try:
        other = open_checkpoint(evidence.encode(), *keys)
    except Malformed as error:
        return f"what it shows is no checkpoint of this log: {error}"
    if other.size > head.size:
        return f"proven: it shows our own signature over {other.size} leaves"
    if merkle.range_root(0, other.size, reader.node) != other.root:
        return f"proven: it shows our own signature over other leaves, {other.size} of them"
    return "what it shows is a checkpoint that ours does extend"


@dataclass(frozen=True)
class Line:
    """A cosignature line. `witness`: its name in the policy."""

    witness: str
    text: str


def _proof(old: int, size: int, reader: Reader) -> Sequence[bytes]:
    return merkle.consistency_proof(old, size, reader.node) if 0 < old < size else []


def check_addresses(policy: Policy) -> None:
    """Raises Malformed for a witness's address that is neither https nor on this machine."""
    for witness in policy.witnesses:
        _check_address(witness)


def _check_address(witness: Witness) -> None:
    if witness.url is None:
        return
    parts = urlsplit(witness.url)
    try:
        here = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        here = False
    if not parts.hostname or not (parts.scheme == "https" or (here and parts.scheme == "http")):
        raise Malformed(
            f"witness {_shown(witness)}: {witness.url!r} is neither https nor on this machine"
        )


async def _post(session: aiohttp.ClientSession, witness: Witness, body: bytes) -> Heard:
    address = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
    async with session.post(address, data=body, allow_redirects=False) as answer:
        return Heard(answer.status, answer.headers.get("Content-Type", ""), await _read(answer))


async def _evidence(session: aiohttp.ClientSession, witness: Witness, origin: str) -> str | None:
    """What the witness shows to monitors of this log: where it is signed by our key, the proof."""
    named = sha256(origin.encode()).hexdigest()
    address = f"{(witness.url or '').rstrip('/')}/{named}/checkpoint"
    try:
        async with session.get(address, allow_redirects=False) as answer:
            body = await _read(answer)
            return body.decode() if answer.status == 200 and b"\x00" not in body else None
    except (aiohttp.ClientError, OSError, TimeoutError, UnicodeDecodeError):
        return None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in answer.content.iter_chunked(8192):
        body += part
        if len(body) > MOST_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return body


def _shown(witness: Witness) -> str:
    """Names in a policy are octets; in logs and labels they are text."""
    return witness.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
