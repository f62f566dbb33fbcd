"""The database of all hosts is lost: the cluster comes back from its archive, halted, until people let it go on.

Then the same to an older point, while the hosts' sets of the audit log know more. Each test goes on where the one
before ended; what is left is of no more use, so this is the last of the suite.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.hosts.client import Beside, as_client
from tests.hosts.failover.cluster import is_led, sql, until
from tests.hosts.failover.test_failover import check, through
from tests.hosts.lab import Lab
from tests.hosts.people import Letting, let_go_on
from tests.hosts.play import ADMIN_URL

SURE = "restore_sure='the database is lost'"
AUDIT, RESTORED = "/var/lib/portcullis/audit", "/var/lib/portcullis-restored"
DATA = "/var/lib/postgresql/15/portcullis"
TABLES = ("signals", "plans", "orders", "execution_reports", "signal_outcomes", "subscriptions")
ALL_OF = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
SIGNED = "SELECT log_id, max(size) FROM audit_checkpoints GROUP BY log_id"
LEAVES = "SELECT log_id, max(i) + 1 FROM audit_leaves GROUP BY log_id"
WITHIN_S, ANCHORED_S = 60.0, 150.0


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
    let_them_go_on(deployed, "first")
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
    let_them_go_on(deployed, "second")
    until(
        lambda: stopped(deployed) >= len(older), WITHIN_S, "no recorder says which logs it leaves"
    )
    assert through(nothing, deployed, trading).unfinished == []
    now, there = signed(deployed), notes(deployed)
    assert {log: now[log] for log in older} == {log: has[log] for log in older}
    assert {place: there[place] for place in kept if place[1] in older} == {
        place: note for place, note in kept.items() if place[1] in older
    }


# ------------------------------------------------------------------------------------------------- what is done


def nothing(lab: Lab) -> Iterator[None]:
    yield


def back_up(lab: Lab) -> None:
    lab.controller.said(lab.hosts[-1], "sudo systemctl start portcullis-backup.service")


def restore(lab: Lab, *more: str) -> None:
    played = lab.controller.play("restore", "-e", SURE, *more)
    assert played.worked, played.end
    until(lambda: is_led(lab), WITHIN_S, "the proxies lead to no primary")


def lose(lab: Lab) -> None:
    """Each PostgreSQL at once, by SIGKILL; of one host the files are left, as after a table was dropped."""
    for host in lab.hosts:
        lab.controller.said(
            host, "sudo systemctl kill -s KILL patroni && sudo systemctl stop patroni"
        )
    for host in lab.hosts[:-1]:
        lab.controller.said(host, f"sudo rm -rf {DATA}")


def let_them_go_on(lab: Lab, turn: str) -> None:
    """By two operators who are invited on the first host."""
    links = [
        json.loads(
            lab.controller.said(
                lab.hosts[0],
                f"sudo portcullis user create {name} --email {name}.{turn}@example.com --roles operator"
                " --url https://127.0.0.1:8443 --as operator --json",
            )
        )["invitation_url"]
        for name in ("ada", "ben")
    ]
    asked = Letting(
        admin=ADMIN_URL, authority=str(lab.controller.authority), first=links[0], second=links[1]
    )
    assert as_client(lab.wire, let_go_on, asked).halts != []


# ---------------------------------------------------------------------------------------------- what is looked at


def at_rest(lab: Lab) -> list[str]:
    """The database's contents, when all of the audit log is signed and the archive has all of it."""
    until(lambda: sizes(lab, LEAVES) == signed(lab), WITHIN_S, "not all is signed")
    found, now = contents(lab), sql(lab, "SELECT pg_current_wal_flush_lsn()")
    asked = f"SELECT restart_lsn >= '{now}' FROM pg_replication_slots WHERE slot_name = 'portcullis_wal'"
    until(lambda: sql(lab, asked) == "t", WITHIN_S, "the archive stays behind")
    return found


def contents(lab: Lab) -> list[str]:
    """One digest a table, of those that change only while there is trading."""
    return [sql(lab, ALL_OF.format(table)) for table in TABLES]


def all_beyond(was: dict[str, int], now: dict[str, int]) -> bool:
    return all(now[log] > size for log, size in was.items())


def signed(lab: Lab) -> dict[str, int]:
    return sizes(lab, SIGNED)


def sizes(lab: Lab, query: str) -> dict[str, int]:
    """By the log's id."""
    rows = (line.split("|") for line in sql(lab, query).splitlines())
    return {log: int(size) for log, size in rows}


def notes(lab: Lab) -> dict[tuple[str, str], str]:
    """The checkpoint of each log in each host's own set, by host and log."""
    asked = f"sudo sh -c 'cd {AUDIT} && for log in *; do test -d $log && echo $log; done'"
    return {
        (host.name, log): lab.controller.said(host, f"sudo cat {AUDIT}/{log}/checkpoint")
        for host in lab.hosts
        for log in lab.controller.said(host, asked).split()
    }


def verify(lab: Lab, name: str, log: str, older: str) -> None:
    """From the files of that host alone; and that they extend what they were."""
    host = lab.host(name)
    lab.controller.put(host, "/var/tmp/older", older)
    words = "--manifest --since /var/tmp/older"
    lab.controller.said(host, f"sudo portcullis audit verify {AUDIT}/{log} {words}")


def stopped(lab: Lab) -> float:
    """How many logs the recorder in force does not sign of itself: no halt of them is open."""
    asked = "sudo curl -s --unix-socket /run/portcullis/recorder-0.health http://localhost/metrics"
    told = "".join(lab.controller.said(host, asked) for host in lab.hosts)
    refused = max(
        float(size) for size in re.findall(r"^portcullis_audit_refused_logs (.+)$", told, re.M)
    )
    halted = max(
        float(size) for size in re.findall(r"^portcullis_audit_halted_logs (.+)$", told, re.M)
    )
    return halted if refused == 0 else 0
