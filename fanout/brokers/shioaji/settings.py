"""What an operator decides about Shioaji: whose sessions run here, what they may trade, how fast.

What protects has no default: limits, time-outs and the choice between simulation and production are
written down by somebody who answers for them. Secrets are not here: the person's secret key and the
password of the certificate are enrolled in the HSM; the certificate's file is useless without it.
"""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from uuid import UUID

import msgspec

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
ORDER_OPS_MOST, ORDER_OPS_S = 250, 10.0
ACCOUNTING_MOST, ACCOUNTING_S = 25, 5.0
LOGINS_MOST = 1000
DAILY_EARLIEST, DAILY_LATEST = time(5, 15), time(8, 15)


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One person at SinoPac: one login, one session process."""

    name: str
    """Of the process, its socket and its log; in an account's settings as `person`. Not the person id."""
    tenant: UUID
    account: UUID
    """The account of ours whose enrolled secret this person's session logs in with."""
    person_id: str
    """As SinoPac knows the person (ROC id); the certificate is activated for it."""
    ca_file: Path | None = None
    """The certificate, .pfx. Not needed in simulation."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r}: ≤ 32 of [a-z0-9-] are needed")


class ShioajiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.shioaji]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    simulation: bool
    """SinoPac's simulation, or money. Always said to the SDK: it simulates if nobody says."""
    sdk: str = "shioaji"
    """The module that is the SDK: another one only to point a session at a scripted exchange."""
    runtime: Path
    """Where sessions' sockets and journals are: `[instance] runtime` of this host."""
    door: Path
    """The signer's socket where purpose `sdk` is opened (`[doors.session]` of signer.toml)."""
    private: Path = Path("/dev/shm")  # noqa: S108 - each session makes a 0700 directory of its own in it
    """A tmpfs: what the SDK writes, and for a moment the certificate."""
    persons: list[Person]
    stocks: list[str] = []
    """Codes that trade in lots of 1,000, `2330`. Quantities are in shares."""
    odd_stocks: list[str] = []
    """Codes that trade in single shares, ≤ 999 an order, at a limit for the day."""
    futures: list[str] = []
    """Roots: `TXF` means TXFR1, TXFR2 and each month."""
    options: list[str] = []
    """Roots: `TXO`."""
    futures_most: int
    """Contracts in one order of a future or an option (TAIFEX: 100 at a limit, 10 at market)."""
    order_ops: int
    """Order operations in any 10 s, all accounts of a person (SinoPac: 250; leave room for a person)."""
    accounting_ops: int
    """Questions about positions and money in any 5 s (SinoPac: 25)."""
    logins_per_day: int
    """A session that would be started more often stays down (SinoPac: 1,000)."""
    order_timeout_s: float
    """How long the SDK waits for SinoPac's answer to an order. A failure in it is *doubt*."""
    ack_wait_s: float
    """How long an order may be PendingSubmit before it is in doubt."""
    queue_wait_s: float
    """How long an order may wait for the limits and for the one before it, before it is not sent."""
    query_timeout_s: float
    login_timeout_s: float
    clock_error_ms: int
    """By how much the clocks of this host and of PostgreSQL may differ: part of each proof of absence."""
    quotes_max_age_s: float
    """Older prices are asked for again."""
    restart_at: time = time(6, 0)
    """In Taipei, each day: a token lives for 24 hours. Between the night session and the day session."""

    def __post_init__(self) -> None:
        self._check_limits()
        names = [person.name for person in self.persons]
        if len(set(names)) != len(names) or not names:
            raise ValueError("persons: at least one is needed, each with a name of its own")
        both = sorted(set(self.stocks) & set(self.odd_stocks))
        if both:
            raise ValueError(
                f"{both[0]} is in stocks and in odd_stocks: SinoPac keeps one position of both"
            )
        if not self.simulation and any(person.ca_file is None for person in self.persons):
            raise ValueError("persons.ca_file: orders in production are signed with a certificate")
        if not DAILY_EARLIEST <= self.restart_at <= DAILY_LATEST:
            raise ValueError("restart_at must be 05:15 to 08:15, when nothing trades in Taiwan")

    def _check_limits(self) -> None:
        for name, most in (
            ("order_ops", ORDER_OPS_MOST),
            ("accounting_ops", ACCOUNTING_MOST),
            ("logins_per_day", LOGINS_MOST),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {getattr(self, name)}")
        for name in (
            "futures_most", "order_timeout_s", "ack_wait_s", "queue_wait_s", "query_timeout_s",
            "login_timeout_s", "quotes_max_age_s",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")
        if self.clock_error_ms < 0:
            raise ValueError(f"clock_error_ms must not be negative, got {self.clock_error_ms}")

    def person(self, name: str) -> Person | None:
        return next((person for person in self.persons if person.name == name), None)

    def keeper(self, person: str) -> Path:
        return self.runtime / f"sj-{person}.keeper"

    def socket(self, person: str) -> Path:
        return self.runtime / f"sj-{person}.sock"

    def journal(self, person: str) -> Path:
        return self.runtime / f"sj-{person}.journal"

    @property
    def submit_timeout_s(self) -> float:
        """From the worker's request to the session's answer, at most: then it is doubt."""
        return (
            self.queue_wait_s + self.order_timeout_s + self.ack_wait_s + self.query_timeout_s + 1.0
        )


def path_of(kind: type, value: object) -> Path:
    """msgspec's dec_hook for the paths in the table."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)


def to_json(settings: ShioajiSettings) -> bytes:
    """For the session process, which is told nothing else of the host's settings."""
    return msgspec.json.encode(settings, enc_hook=str)


def from_json(text: bytes) -> ShioajiSettings:
    """Raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=ShioajiSettings, dec_hook=path_of)
