"""What an operator says of the clock: `[clock]` of the settings file."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ops.clock.cmdmon import PORT


class ClockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`error_max_ms`: farther from UTC than this the host's clock is degraded, whatever tenants want.

    chronyd is asked at `chrony_host` and `chrony_port`; the loopback, where it answers everybody and
    where nobody without privileges can take its port.
    """

    error_max_ms: Annotated[float, Meta(gt=0, le=60_000)]
    chrony_host: str = "127.0.0.1"
    chrony_port: Annotated[int, Meta(ge=1, le=65535)] = PORT

    @property
    def error_max_ns(self) -> int:
        return round(self.error_max_ms * 1_000_000)
