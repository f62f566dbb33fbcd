"""One host does everything, and burns down. What is left: its archive, the tokens' copy, and the PINs on paper.

As docs/operating/backup.md says: a bare host is made one of ours, short of tokens and start; the archive is
put where it was; restore, tokens, PINs, and `site`. Nobody has the host's keys of the API any more, so the
operators are let in again from the host.
"""

from __future__ import annotations

import json
import secrets

from tests.hosts.client import Beside
from tests.hosts.cluster import until
from tests.hosts.lab import Lab
from tests.hosts.log import all_beyond, notes, signed, verify
from tests.hosts.restore.archive import (
    at_rest,
    back_up,
    contents,
    invited,
    lifted,
    restore,
)
from tests.hosts.through import check, nothing, through

REPOSITORY, PINS = "/srv/portcullis-backup", "/etc/portcullis/credentials"
ARCHIVE = "portcullis-archive"
TOKENS = "/var/tmp/tokens.hsm"
BARE = ("--skip-tags", "portcullis_installation,portcullis_run")
ASKED, AGAIN = "Passphrase of", "The same again"


def test_it_comes_back_with_everything_and_goes_on_when_two_people_say_so(
    deployed: Lab, trading: Beside
) -> None:
    (host,), controller, passphrase = deployed.hosts, deployed.controller, secrets.token_urlsafe(24)
    for name in ("ada", "ben"):
        invited(deployed, name)
    controller.typed(
        host, f"sudo portcullis hsm backup {TOKENS}", {ASKED: passphrase, AGAIN: passphrase}
    )
    back_up(deployed)
    check(through(nothing, deployed, trading))
    before, kept = at_rest(deployed), notes(deployed)
    controller.said(host, f"sudo systemctl stop {ARCHIVE}")  # copied as it is at one moment
    elsewhere = [controller.fetch(host, path) for path in (REPOSITORY, TOKENS, PINS)]

    deployed.replace(host)
    played = controller.play("site", *BARE)
    assert played.worked, played.end
    for archive in elsewhere:
        controller.give(host, archive)
    restore(deployed)
    assert contents(deployed) == before
    has = signed(deployed)
    controller.typed(host, f"sudo portcullis hsm restore {TOKENS}", {ASKED: passphrase})
    played = controller.play("site")
    assert played.worked, played.end
    assert through(nothing, deployed, trading).orders == 0
    assert signed(deployed) == has

    assert lifted(deployed, recovered(deployed, "ada"), recovered(deployed, "ben")) > 0
    check(through(nothing, deployed, trading))
    until(lambda: all_beyond(has, signed(deployed)), 150.0, "not every log is signed further")
    at_rest(deployed)
    for (name, log), note in kept.items():
        verify(deployed, name, log, note)


def recovered(lab: Lab, name: str) -> str:
    """Let in again from the host; the link."""
    words = f"user recover {name}@example.com --tenant Platform --yes --json"
    made = json.loads(lab.controller.said(lab.hosts[0], f"sudo portcullis {words}"))
    url: str = made["url"]
    return url
