"""What an operator may set about the public listener. Every limit has its unit in its name."""

from __future__ import annotations

import msgspec

from fanout.waker import WakeSettings


class RateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per hook that has no limits of its own.

    `redis_timeout_s`: a slower Redis counts as away, and this process counts alone.
    """

    per_minute: int = 60
    per_hour: int = 500
    redis_timeout_s: float = 0.05
    redis_pause_s: float = 1.0


class KeepSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Group commit. `answer_timeout_s`: who waits longer is told `outcome_unknown`."""

    batch_max: int = 256
    queue_max: int = 2048
    refusals_max: int = 256
    answer_timeout_s: float = 5.0
    backoff_first_s: float = 0.05
    backoff_most_s: float = 2.0


class WaitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`Prefer: wait=N`. `most_s`: longer is not waited, 0 is never. `senders_max`, `tenant_max`: places in this
    process; who finds none is answered at once. `poll_s`: how often PostgreSQL is asked while somebody waits.
    """

    most_s: int = 30
    senders_max: int = 256
    tenant_max: int = 64
    poll_s: float = 0.05


class HookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The listener. `management_base_url`: where a person follows a signal, without a final slash."""

    management_base_url: str
    max_body_bytes: int = 64 * 1024
    body_timeout_s: float = 10.0
    tolerance_s: int = 300
    refusal_records_per_s: float = 1.0
    rate: RateSettings = RateSettings()
    keep: KeepSettings = KeepSettings()
    wake: WakeSettings = WakeSettings()
    wait: WaitSettings = WaitSettings()
