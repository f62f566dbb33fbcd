"""Room on disks, the end of certificates, and which processes a host shows."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ops.disk_room import look, watch_disks
from ops.tls import LIFETIME, create_dev_certificates, tell_expiry
from tenancy.errors import ConfigurationError

EXPIRY = "portcullis_certificate_expiry_timestamp_seconds"


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_the_room_of_a_place_is_that_of_its_file_system(tmp_path: Path):
    look("here", tmp_path)
    found = os.statvfs(tmp_path)
    assert value("portcullis_disk_size_bytes", place="here") == found.f_blocks * found.f_frsize
    free = value("portcullis_disk_free_bytes", place="here")
    assert free is not None
    assert 0 < free < found.f_blocks * found.f_frsize


def test_a_place_that_is_not_made_yet_has_the_room_of_where_it_will_be(tmp_path: Path):
    look("later", tmp_path / "not" / "yet")
    found = os.statvfs(tmp_path)
    assert value("portcullis_disk_size_bytes", place="later") == found.f_blocks * found.f_frsize


async def test_all_places_are_looked_at_until_it_is_stopped(tmp_path: Path):
    stop = asyncio.Event()
    watching = asyncio.create_task(
        watch_disks({"one": tmp_path, "two": tmp_path}, stop, every_s=0.001)
    )
    # A gauge tells nobody that it was set.
    while value("portcullis_disk_free_bytes", place="two") is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    stop.set()
    await watching
    assert value("portcullis_disk_free_bytes", place="one") is not None


def test_a_certificate_is_said_to_hold_until_the_first_of_its_chain_ends(tmp_path: Path):
    now = datetime.now(UTC).replace(microsecond=0)
    create_dev_certificates(tmp_path, now)
    create_dev_certificates(tmp_path / "older", now - timedelta(days=100))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(
        (tmp_path / "server.pem").read_bytes() + (tmp_path / "older" / "ca.pem").read_bytes()
    )
    tell_expiry("ingress", tmp_path / "server.pem")
    assert value(EXPIRY, use="ingress") == (now + LIFETIME).timestamp()
    tell_expiry("ingress", chain)
    assert value(EXPIRY, use="ingress") == (now + LIFETIME - timedelta(days=100)).timestamp()


def test_what_is_no_certificate_is_named(tmp_path: Path):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("words")
    with pytest.raises(ConfigurationError, match=r"wrong\.pem is no certificate \(PEM\)"):
        tell_expiry("admin", wrong)
    with pytest.raises(ConfigurationError, match=r"missing\.pem is no certificate"):
        tell_expiry("admin", tmp_path / "missing.pem")
