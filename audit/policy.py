"""C2SP tlog-policy: whose word makes a checkpoint believable, and whether it has been given.

`parse_policy()` reads the file, `check_quorum()` counts. A witness counts once however often it
signed and under however many names it is listed: the file may name a public key once and each
name once as a member, so every witness counts towards the quorum in one way only.

The verifier asks here whether a checkpoint is witnessed; the networking that fetches cosignatures
is elsewhere (audit/witness). A log's own signature is not looked at here: checkpoint.py does that.
Standard library and `cryptography` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from audit.cosignature import Cosigner
from audit.malformed import Malformed
from audit.note import VerifierKey, split_note

NONE = "none"
MOST_LINES = 4096

_SPACE = re.compile(r"[ \t]+")
_COUNT = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")


@dataclass(frozen=True)
class PolicyLog:
    """A log whose checkpoints are accepted."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True)
class Witness:
    """`name` means something within the policy alone; `key.name` is what its signatures bear."""

    name: str
    key: Cosigner
    url: str | None = None


@dataclass(frozen=True)
class Group:
    """Has witnessed what `threshold` or more of its `members` (witnesses, groups) have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """Who must have signed. `groups` are in an order in which each names only earlier ones."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def is_met_by(self, cosigned: set[str]) -> bool:
        """Whether these witnesses, by their names in the policy, are enough."""
        if self.quorum == NONE:
            return True
        standing = cosigned & {witness.name for witness in self.witnesses}
        for group in self.groups:
            if sum(member in standing for member in group.members) >= group.threshold:
                standing.add(group.name)
        return self.quorum in standing


@dataclass(frozen=True)
class Quorum:
    """What `check_quorum` found: the POSIX seconds of each witness's word, by its name in the policy."""

    met: bool
    times: dict[str, int]
    missing: tuple[str, ...]

    def why(self) -> str:
        """For a reader: who has signed and who has not."""
        signed = ", ".join(sorted(self.times)) or "nobody"
        return f"cosigned by {signed}; not by {', '.join(self.missing) or 'nobody else'}"


def check_quorum(note: bytes, policy: Policy) -> Quorum:
    """Who of the policy's witnesses cosigned this checkpoint, and whether that is enough.

    Signatures of unknown keys are ignored. Raises Malformed for what is no note, and for a line
    under a known witness's name and key id that does not verify: that refuses the whole note.
    """
    text, lines = split_note(note)
    known = {(witness.key.name, witness.key.key_id): witness for witness in policy.witnesses}
    times: dict[str, int] = {}
    for name, key_id, signature in lines:
        witness = known.get((name, key_id))
        if witness is not None:
            time = witness.key.time_of(text, signature)
            times[witness.name] = max(time, times.get(witness.name, 0))
    missing = tuple(one.name for one in policy.witnesses if one.name not in times)
    return Quorum(policy.is_met_by(set(times)), times, missing)


def spelled(policy: Policy) -> bytes:
    """The policy as a file that says the same, without addresses: who counts, not where they are asked."""
    lines = [f"log {log.key}" for log in policy.logs]
    lines += [f"witness {one.name} {one.key}" for one in policy.witnesses]
    lines += [f"group {g.name} {g.threshold} {' '.join(g.members)}" for g in policy.groups]
    lines.append(f"quorum {policy.quorum}")
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def parse_policy(data: bytes) -> Policy:
    """The policy in a file's bytes. Raises Malformed, naming the line."""
    if _FORBIDDEN.search(data):
        raise Malformed("a policy holds no control characters but tab and newline")
    if not data.endswith(b"\n"):
        raise Malformed("each line of a policy ends with a newline")
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:-1]
    if len(lines) > MOST_LINES:
        raise Malformed(f"a policy of more than {MOST_LINES} lines")
    reading = _Reading()
    for number, line in enumerate(lines, 1):
        words = _SPACE.split(line.strip(" \t"))
        if words == [""] or words[0].startswith("#"):
            continue
        try:
            reading.take(words)
        except Malformed as error:
            raise Malformed(f"policy, line {number}: {error}") from None
    return reading.policy()


class _Reading:
    """A policy as far as it has been read."""

    def __init__(self) -> None:
        self._logs: list[PolicyLog] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._names: set[str] = set()
        self._members: set[str] = set()
        self._keys: set[tuple[type, bytes]] = set()
        self._takes: dict[str, Callable[[list[str]], None]] = {
            "log": self._log, "witness": self._witness, "group": self._group, "quorum": self._end,
        }  # fmt: skip

    def take(self, words: list[str]) -> None:
        what, *rest = words
        if what not in self._takes:
            raise Malformed("begins with none of log, witness, group, quorum")
        self._takes[what](rest)

    def policy(self) -> Policy:
        if self._quorum is None:
            raise Malformed("a policy has one quorum line")
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def _log(self, rest: list[str]) -> None:
        vkey, url = _one_and_perhaps_another(rest, "log <vkey> [<url>]")
        key = VerifierKey.parse(_utf8(vkey))
        self._once(key)
        self._logs.append(PolicyLog(key, url))

    def _witness(self, rest: list[str]) -> None:
        form = "witness <name> <vkey> [<url>]"
        if not rest:
            raise Malformed(form)
        vkey, url = _one_and_perhaps_another(rest[1:], form)
        key = Cosigner.parse(_utf8(vkey))
        self._once(key)
        self._define(rest[0])
        self._witnesses.append(Witness(rest[0], key, url))

    def _group(self, rest: list[str]) -> None:
        if len(rest) < 3:
            raise Malformed("group <name> all|any|<k> <name>...")
        name, wanted, *members = rest
        for member in members:
            if member not in self._names:
                raise Malformed(f"{_shown(member)} is not defined above")
            if member in self._members:
                raise Malformed(f"{_shown(member)} is a member for the second time")
            self._members.add(member)
        self._define(name)
        self._groups.append(Group(name, _threshold(wanted, len(members)), tuple(members)))

    def _end(self, rest: list[str]) -> None:
        if len(rest) != 1:
            raise Malformed("quorum <name>")
        if self._quorum is not None:
            raise Malformed("a second quorum line")
        if rest[0] != NONE and rest[0] not in self._names:
            raise Malformed(f"{_shown(rest[0])} is not defined above")
        self._quorum = rest[0]

    def _define(self, name: str) -> None:
        if name == NONE or name in self._names:
            raise Malformed(f"the name {_shown(name)} is taken")
        self._names.add(name)

    def _once(self, key: VerifierKey | Cosigner) -> None:
        """The same public key under another name is still the same key."""
        identity = (type(key), key.public_key)
        if identity in self._keys:
            raise Malformed("this public key is listed for the second time")
        self._keys.add(identity)


def _one_and_perhaps_another(words: list[str], form: str) -> tuple[str, str | None]:
    if not 1 <= len(words) <= 2:
        raise Malformed(form)
    return words[0], words[1] if len(words) == 2 else None


def _threshold(wanted: str, members: int) -> int:
    if wanted in ("any", "all"):
        return 1 if wanted == "any" else members
    if _COUNT.fullmatch(wanted) is None or int(wanted) > members:
        raise Malformed(f"the threshold {_shown(wanted)} is not all, any, or 1 to {members}")
    return int(wanted)


def _utf8(text: str) -> str:
    """A key's name is UTF-8; other octets in a policy are opaque."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("a verifier key is UTF-8") from None
    return text


def _shown(name: str) -> str:
    return repr(name.encode("utf-8", "surrogateescape"))[1:]
