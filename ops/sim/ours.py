"""What a process takes from its machine and a simulation must give it: ids, salts, a last clock, keys."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import fanout.waker
import tenancy.ids
from audit import inbox, ring
from audit.ring import Ring, Row
from ops.sim.loop import SimulatedLoop


class Clear(Ring):
    """Payloads stay as they are: keys are another part's matter, and the auditor reads."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]

    async def prepare(self, tenant: Any, subjects: Any) -> None: ...

    async def seal_all(self, rows: Any) -> list[bytes]:
        some: list[Row] = list(rows)
        return [payload for _, _, payload, _ in some]


def make_our_own(loop: SimulatedLoop, random: Random) -> None:
    """Ids, salts and the last clock come from the seed, too."""

    def uuid7() -> UUID:
        ms = round(loop.utc().timestamp() * 1000)
        low = random.getrandbits(74)
        return UUID(int=ms << 80 | 7 << 76 | (low >> 62) << 64 | 2 << 62 | low & (2**62 - 1))

    ids = cast(Any, tenancy.ids)
    ids._uuid7 = uuid7
    ids.secrets = SimpleNamespace(token_urlsafe=lambda size: f"{random.getrandbits(8 * size):x}")
    cast(Any, inbox).secrets = SimpleNamespace(token_bytes=random.randbytes)
    cast(Any, fanout.waker).time = SimpleNamespace(monotonic=loop.time)
    ring.use(Clear())
