"""Wait for an event or for a time, whichever comes first; a cancellation always ends the wait.

Not asyncio.wait_for(): that of Python 3.11 swallows a cancellation which comes in the same step as what it
waits for, and a loop that was to end goes on (https://github.com/python/cpython/issues/86296). It also makes
a task of each wait.
"""

from __future__ import annotations

import asyncio


async def pause(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether the event was set within so many seconds; None: however long it takes."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
