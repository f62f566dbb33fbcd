"""The database of all hosts is lost: the cluster comes back from its archive, halted, until people let it go on.

Then the same to an older point, while the hosts' sets of the audit log know more. Each test goes on where the one
before ended; what is left is of no more use, and the suite ends with it.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from tests.hosts.client import Beside
from tests.hosts.cluster import until, whole
from tests.hosts.lab import Lab
from tests.hosts.log import all_beyond, notes, signed, stopped, verify
from tests.hosts.restore.archive import (
    RESTORED,
    WITHIN_S,
    at_rest,
    back_up,
    contents,
    invited,
    lifted,
    lose,
    restore,
)
from tests.hosts.through import a_while, check, nothing, through

ANCHORED_S = 150.0


class Back(NamedTuple):
    """What the database held when it was lost, what came back, and the size to which each log is signed there."""

    before: list[str]
    after: list[str]
    signed: dict[str, int]


@pytest.fixture(scope="module")
def back(deployed: Lab, trading: Beside) -> Back:
    back_up(deployed)
    check(through(nothing, deployed, trading))
    before = at_rest(deployed)
    lose(deployed)
    restore(deployed)
    return Back(before, contents(deployed), signed(deployed))


def test_everything_is_there_again(back: Back) -> None:
    assert back.after == back.before


def test_it_takes_signals_and_neither_trades_nor_signs(
    deployed: Lab, trading: Beside, back: Back
) -> None:
    played = deployed.controller.play("site")
    assert played.worked, played.end
    seen = through(nothing, deployed, trading)
    assert seen.signals > 0
    assert seen.unfinished == []
    assert seen.orders == 0
    assert signed(deployed) == back.signed


def test_when_two_people_say_so_it_trades_and_signs_and_the_log_is_the_one_it_was(
    deployed: Lab, trading: Beside, back: Back
) -> None:
    kept = notes(deployed)
    assert lifted(deployed, invited(deployed, "ada"), invited(deployed, "ben")) > 0
    check(through(nothing, deployed, trading))
    until(
        lambda: all_beyond(back.signed, signed(deployed)),
        ANCHORED_S,
        "not every log is signed further",
    )
    at_rest(deployed)
    for (host, log), note in kept.items():
        verify(deployed, host, log, note)
    assert notes(deployed) != kept


def test_of_an_older_state_nothing_is_signed(deployed: Lab, trading: Beside) -> None:
    """Two people let it go on in error; the hosts' own sets say that there was more, and their recorders know."""
    back_up(deployed)
    moment = deployed.controller.said(deployed.hosts[0], "date -u +%Y-%m-%dT%H:%M:%S").strip()
    time.sleep(1.0)
    check(through(nothing, deployed, trading))
    at_rest(deployed)
    kept, had = notes(deployed), signed(deployed)
    for host in deployed.hosts:
        deployed.controller.said(host, f"sudo rm -rf {RESTORED}")
    lose(deployed)
    restore(deployed, "-e", f"backup_restore_time={moment}")
    has = signed(deployed)
    older = {log for log, size in had.items() if has[log] < size}
    assert older
    played = deployed.controller.play("site")
    assert played.worked, played.end
    assert lifted(deployed, invited(deployed, "cora"), invited(deployed, "dan")) > 0
    until(
        lambda: stopped(deployed) >= len(older), WITHIN_S, "no recorder says which logs it leaves"
    )
    whole(deployed)
    assert a_while(deployed, trading).unfinished == []
    now, there = signed(deployed), notes(deployed)
    assert {log: now[log] for log in older} == {log: has[log] for log in older}
    assert {place: there[place] for place in kept if place[1] in older} == {
        place: note for place, note in kept.items() if place[1] in older
    }
