"""What a message to a hook is, on its way out of this process, and what came back; who sends is wired in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec


class HookAnswer(msgspec.Struct, frozen=True):
    """The public listener's answer."""

    status: int
    body: bytes


PostToHook = Callable[[str, Mapping[str, str], bytes], Awaitable[HookAnswer]]
"""Path (`/v1/hooks/…`), headers, body. Raises Unavailable where nobody answers."""
