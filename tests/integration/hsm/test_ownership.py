"""Who holds a ceremony does not keep its keys from the daemon that has the token."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from hsm import ceremony
from hsm.ownership import hand_over

DAEMON = 65534
"""Somebody who is not root: `nobody`."""


def owners(token: Path) -> set[tuple[int, int]]:
    return {(path.stat().st_uid, path.stat().st_gid) for path in token.iterdir()}


def test_a_ceremony_leaves_each_token_with_its_owner(softhsm):
    """As root the tokens are a daemon's and root's; as anybody else all is ours, and stays so."""
    softhsm.init()
    us = (os.geteuid(), os.getegid())
    daemons, ours = sorted((softhsm.directory / "tokens").iterdir())
    wanted = (DAEMON, DAEMON) if os.geteuid() == 0 else us
    for path in daemons.iterdir():
        os.chown(path, *wanted)
    before = len(list(daemons.iterdir()))
    ceremony.create_tenant_keys(softhsm.settings, uuid4())
    assert len(list(daemons.iterdir())) > before
    assert owners(daemons) == {wanted}
    assert owners(ours) == {us}


def test_hardware_and_a_directory_that_is_not_there_are_left_alone(tmp_path):
    assert hand_over(None) == []
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(
        f"# directories.tokendir = /elsewhere\n directories.tokendir = {tmp_path}/none\n"
    )
    assert hand_over(conf) == []


def test_a_link_that_somebody_put_there_gives_nothing_away(softhsm):
    softhsm.init()
    token = min((softhsm.directory / "tokens").iterdir())
    stranger = softhsm.directory / "stranger"
    stranger.write_text("root's")
    (token / "link.object").symlink_to(stranger)
    if os.geteuid() == 0:
        os.chown(token / "token.object", DAEMON, DAEMON)
    hand_over(softhsm.settings.softhsm_conf)
    assert (stranger.stat().st_uid, stranger.stat().st_gid) == (os.geteuid(), os.getegid())
