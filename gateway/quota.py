"""Limits on use, in words: quotas, what is counted as one, and what an answer says of it. Pure.

A partition is what is counted as one (a hook, a tenant's hooks, a service key); each of its quotas
is so many requests in a window. A request passes where every quota of every partition that it
belongs to has room, and is then counted in all of them; what is refused is counted in none.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10: Lists of Strings with
parameters (RFC 9651). `q` quota, `w` window in s, `r` remaining, `t` seconds until there is more.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec


class Quota(msgspec.Struct, frozen=True):
    """`limit` requests in `window_s` seconds. `name` is what the headers call it."""

    name: str
    limit: int
    window_s: int


class Partition(msgspec.Struct, frozen=True):
    """What is counted as one. No two quotas of a partition have the same window."""

    key: str
    quotas: tuple[Quota, ...]


class Claim:
    """The partitions that a request belongs to, made once and used for many requests."""

    __slots__ = ("arguments", "key", "keys", "partitions", "quotas")

    def __init__(self, *partitions: Partition) -> None:
        self.partitions = partitions
        self.keys = [f"portcullis:rate:{partition.key}" for partition in partitions]
        self.key = "\n".join(self.keys)
        self.quotas = tuple(quota for partition in partitions for quota in partition.quotas)
        self.arguments: list[int] = []
        for partition in partitions:
            self.arguments.append(len(partition.quotas))
            for quota in partition.quotas:
                self.arguments += [quota.window_s, quota.limit]

    def __repr__(self) -> str:
        return f"<Claim {self.key!r} {self.quotas}>"


class Standing(msgspec.Struct, frozen=True):
    """What is left of a quota after this request, and in how many seconds there is more."""

    quota: Quota
    remaining: int
    reset_s: int


class Allowance(msgspec.Struct, frozen=True):
    """May this request pass? If not, `retry_after_s` is when it may."""

    allowed: bool
    standings: tuple[Standing, ...] = ()
    retry_after_s: int = 0

    def headers(self) -> tuple[tuple[str, str], ...]:
        """RateLimit-Policy and RateLimit; nothing where nothing was counted.

        A refusal lists in RateLimit only the quotas that are used up, so that Retry-After is never
        earlier than any `t` beside it (section 5 of the draft asks for that).
        """
        if not self.standings:
            return ()
        told = self.standings if self.allowed else self._spent()
        items = ", ".join(f'"{s.quota.name}";r={s.remaining};t={s.reset_s}' for s in told)
        policy = _policy(tuple(s.quota for s in self.standings))
        return ("ratelimit-policy", policy), ("ratelimit", items)

    def refusal(self) -> str:
        """For a problem's `detail`: which quotas are used up, and what they are."""
        quotas = [s.quota for s in self._spent()]
        words = [f"{q.name}: {q.limit} requests in {_span(q.window_s)}" for q in quotas]
        return "used up: " + "; ".join(words)

    def _spent(self) -> tuple[Standing, ...]:
        return tuple(s for s in self.standings if s.remaining == 0)

    @property
    def tightest(self) -> Standing:
        """The quota that will refuse first."""
        return min(self.standings, key=lambda s: (s.remaining / s.quota.limit, -s.reset_s))

    @property
    def policy(self) -> str:
        return self.tightest.quota.name

    @property
    def limit(self) -> int:
        return self.tightest.quota.limit

    @property
    def remaining(self) -> int:
        return self.tightest.remaining

    @property
    def reset_s(self) -> int:
        return self.tightest.reset_s


@lru_cache(maxsize=1024)
def _policy(quotas: tuple[Quota, ...]) -> str:
    return ", ".join(f'"{q.name}";q={q.limit};w={q.window_s}' for q in quotas)


def _span(seconds: int) -> str:
    return {60: "a minute", 3600: "an hour"}.get(seconds, f"{seconds} s")
