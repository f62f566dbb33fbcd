"""What the SDK's thread tells: who watches hears it; whoever tells a loop that has ended disturbs nobody."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.news import News
from tenancy.clock import SystemClock

UNREADABLE = {"nobody": "foresaw this"}


def in_a_thread(call) -> list[BaseException]:
    failed: list[BaseException] = []

    def tell() -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join(10)
    return failed


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal", SystemClock())


def test_what_is_told_to_a_loop_that_ended_disturbs_nobody(journal):
    loop = asyncio.new_event_loop()
    news = News(loop, journal)
    loop.close()
    assert in_a_thread(news.gap) == []
    assert in_a_thread(lambda: news.heard("OrderState.FuturesOrder", UNREADABLE)) == []


async def test_an_event_that_nobody_foresaw_wakes_who_waits(journal):
    news = News(asyncio.get_running_loop(), journal)
    with news.of("1") as waits:
        assert in_a_thread(lambda: news.heard("OrderState.FuturesOrder", UNREADABLE)) == []
        await asyncio.wait_for(waits.wait(), 5)
