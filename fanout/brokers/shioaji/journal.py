"""What a person's session has handed to the SDK, and how often it asked: a file that outlives the process.

SinoPac has no server deadline, no unique client id, and a name that futures' events leave out. So an
absence is never proven by asking there: a request that left may be taken late. What *can* be proven is
that a request never left: everything for a person goes through this one session, which writes an order's
ClOrdID here before it hands it to the SDK, and writes down, too, which order it will never take any more.

    since  when the record begins: an order whose intent is younger was handed over as this says, or never
    handed, known, gone, op

One line per fact, written with one write() before the act. The kernel keeps it when the process is
killed; no fsync: a host that stops loses the record as a whole, because a record of another boot is not
believed and a new one begins. A torn last line is a fact whose act had not begun.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from tenancy.clock import Clock

KEEP = timedelta(days=4)
KEEP_OPS_S = 60.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """The record, in memory and in its file."""

    def __init__(self, path: Path, clock: Clock, now: Callable[[], float] = monotonic) -> None:
        """Opens or begins it. Raises OSError."""
        self._clock, self._now, self._path = clock, now, path
        self._handed: dict[tuple[str, str], datetime] = {}
        self._gone: dict[tuple[str, str], datetime] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._named: dict[tuple[str, str], str] = {}
        self.ops: list[float] = []
        self.since = clock.now()
        boot = BOOT_ID.read_text().strip()
        self._read(boot)
        self._rewrite(boot)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._file)

    # -------------------------------------------------------------- orders

    def handed(self, account: str, cl_ord_id: str) -> None:
        """Before place_order is called."""
        self._handed[account, cl_ord_id] = self._clock.now()
        self._say("handed", account, cl_ord_id, _text(self._clock.now()))

    def was_handed(self, account: str, cl_ord_id: str) -> bool:
        return (account, cl_ord_id) in self._handed

    def known(self, account: str, cl_ord_id: str, broker_id: str) -> None:
        """What SinoPac calls it."""
        if self._known.get((account, cl_ord_id)) != broker_id:
            self._know(account, cl_ord_id, broker_id)
            self._say("known", account, cl_ord_id, broker_id)

    def broker_id(self, account: str, cl_ord_id: str) -> str | None:
        return self._known.get((account, cl_ord_id))

    def cl_ord_id(self, account: str, broker_id: str) -> str | None:
        return self._named.get((account, broker_id))

    def others(self, account: str, cl_ord_id: str) -> frozenset[str]:
        """SinoPac's ids of this account's other orders."""
        return frozenset(
            broker_id
            for (whose, name), broker_id in self._known.items()
            if whose == account and name != cl_ord_id
        )

    def never_left(self, account: str, cl_ord_id: str, intent_at: datetime) -> bool:
        """It was not handed over, and from now on never is. `intent_at`: no request can be older."""
        if (account, cl_ord_id) in self._handed or intent_at <= self.since:
            return False
        if (account, cl_ord_id) not in self._gone:
            self._gone[account, cl_ord_id] = self._clock.now()
            self._say("gone", account, cl_ord_id, _text(self._clock.now()))
        return True

    def is_gone(self, account: str, cl_ord_id: str) -> bool:
        return (account, cl_ord_id) in self._gone

    # -------------------------------------------------------------- limits

    def op(self) -> None:
        """An order operation begins. By the host's monotonic clock, which all its processes share."""
        self._say("op", repr(self._now()))

    # -------------------------------------------------------------- the file

    def _say(self, *words: str) -> None:
        os.write(self._file, (" ".join(words) + "\n").encode())

    def _know(self, account: str, cl_ord_id: str, broker_id: str) -> None:
        self._known[account, cl_ord_id] = broker_id
        self._named[account, broker_id] = cl_ord_id

    def _read(self, boot: str) -> None:
        if not self._path.exists():
            return
        lines = self._path.read_text(errors="replace").split("\n")[:-1]  # a torn one has no end
        if not lines or lines[0].split()[:2] != ["since", boot]:
            return
        self.since = datetime.fromisoformat(lines[0].split()[2])
        for line in lines[1:]:
            self._take(line.split())
        self._forget()

    def _take(self, words: list[str]) -> None:
        match words:
            case ["handed", account, name, at]:
                self._handed[account, name] = datetime.fromisoformat(at)
            case ["gone", account, name, at]:
                self._gone[account, name] = datetime.fromisoformat(at)
            case ["known", account, name, broker_id]:
                self._know(account, name, broker_id)
            case ["op", at]:
                self.ops.append(float(at))

    def _forget(self) -> None:
        """What is older than any order can be asked about; the record then begins later."""
        now = self._clock.now()
        self.since = max(self.since, now - KEEP)
        self._handed = {key: at for key, at in self._handed.items() if at > now - KEEP}
        self._gone = {key: at for key, at in self._gone.items() if at > now - KEEP}
        for key in set(self._known) - set(self._handed):
            self._named.pop((key[0], self._known.pop(key)), None)
        self.ops = [at for at in self.ops if at > self._now() - KEEP_OPS_S]

    def _rewrite(self, boot: str) -> None:
        lines = [f"since {boot} {_text(self.since)}"]
        lines += [f"handed {who} {name} {_text(at)}" for (who, name), at in self._handed.items()]
        lines += [f"gone {who} {name} {_text(at)}" for (who, name), at in self._gone.items()]
        lines += [f"known {who} {name} {theirs}" for (who, name), theirs in self._known.items()]
        lines += [f"op {at!r}" for at in self.ops]
        fresh = self._path.with_suffix(".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w") as file:
            file.write("\n".join(lines) + "\n")
        fresh.replace(self._path)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
