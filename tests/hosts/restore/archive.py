"""Into the archive, and back from it, on booted hosts."""

from __future__ import annotations

import json

from tests.hosts.client import as_client
from tests.hosts.cluster import is_led, sql, until
from tests.hosts.lab import Lab
from tests.hosts.log import is_signed
from tests.hosts.people import Letting, let_go_on
from tests.hosts.play import ADMIN_URL

SURE = "restore_sure='the database is lost'"
RESTORED = "/var/lib/portcullis-restored"
DATA = "/var/lib/postgresql/15/portcullis"
PLACE = "--url https://127.0.0.1:8443 --as operator --json"
TABLES = ("signals", "plans", "orders", "execution_reports", "signal_outcomes", "subscriptions")
ALL_OF = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
WITHIN_S = 60.0


def back_up(lab: Lab) -> None:
    lab.controller.said(lab.hosts[-1], "sudo systemctl start portcullis-backup.service")


def at_rest(lab: Lab) -> list[str]:
    """The database's contents, when all of the audit log is signed and the archive has all of it."""
    until(lambda: is_signed(lab), WITHIN_S, "not all is signed")
    found, now = contents(lab), sql(lab, "SELECT pg_current_wal_flush_lsn()")
    asked = f"SELECT restart_lsn >= '{now}' FROM pg_replication_slots WHERE slot_name = 'portcullis_wal'"
    until(lambda: sql(lab, asked) == "t", WITHIN_S, "the archive stays behind")
    return found


def contents(lab: Lab) -> list[str]:
    """One digest a table, of those that change only while there is trading."""
    return [sql(lab, ALL_OF.format(table)) for table in TABLES]


def lose(lab: Lab) -> None:
    """Each PostgreSQL at once, by SIGKILL; of one host the files are left, as after a table was dropped."""
    for host in lab.hosts:
        lab.controller.said(
            host, "sudo systemctl kill -s KILL patroni && sudo systemctl stop patroni"
        )
    for host in lab.hosts[:-1]:
        lab.controller.said(host, f"sudo rm -rf {DATA}")


def restore(lab: Lab, *more: str) -> None:
    played = lab.controller.play("restore", "-e", SURE, *more)
    assert played.worked, played.end
    until(lambda: is_led(lab), WITHIN_S, "the proxies lead to no primary")


def invited(lab: Lab, name: str) -> str:
    """An operator: the link of the invitation."""
    words = f"user create {name} --email {name}@example.com --roles operator {PLACE}"
    made = json.loads(lab.controller.said(lab.hosts[0], f"sudo portcullis {words}"))
    link: str = made["invitation_url"]
    return link


def lifted(lab: Lab, first: str, second: str) -> int:
    """Two people who take up these invitations let everything go on; how many halts of logs they lifted."""
    asked = Letting(
        admin=ADMIN_URL, authority=str(lab.controller.authority), first=first, second=second
    )
    return len(as_client(lab.wire, let_go_on, asked).halts)
