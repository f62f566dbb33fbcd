"""Waiting for an event or for a time."""

from __future__ import annotations

import asyncio

import pytest

from tenancy.pause import pause


async def test_it_says_which_came_first():
    event = asyncio.Event()
    assert not await pause(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await pause(event, 60)
    assert await pause(event, None), "set before"


async def test_a_cancellation_in_the_same_step_as_the_event_is_not_swallowed():
    """asyncio.wait_for of Python 3.11 fails this."""
    event = asyncio.Event()
    waiting = asyncio.create_task(pause(event, 60))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
