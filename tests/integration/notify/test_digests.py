"""Digests: one message for a window of so many minutes, the same at every attempt, and nothing left out of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.record import Kind
from gateway.notify.journal import window_end
from gateway.notify.sender import Sender
from gateway.notify.settings import SmtpSettings
from tests.fakes.mail_server import mail_server
from tests.fakes.receiver import Receiver
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import House

pytestmark = pytest.mark.stack
REFUSED, FILL = Kind.ORDER_REJECTED, Kind.ORDER_FILL


class Later:
    """A clock so far ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def now_ns(self) -> int:
        return int(self.now().timestamp() * 1e9)


def later(house: House, minutes: float) -> Sender:
    """A sender to whom so many more minutes have passed."""
    sender = house.sender()
    clock: Any = Later(timedelta(minutes=minutes))
    sender._clock = sender._carriers._clock = clock
    return sender


@pytest.mark.parametrize(
    ("recorded", "minutes", "end"),
    [
        ("2026-01-01T10:00:00.000000000Z", 60, "11:00"),
        ("2026-01-01T10:59:59.999999999Z", 60, "11:00"),
        ("2026-01-01T10:07:00.000000000Z", 15, "10:15"),
        ("2026-01-01T10:07:00.000000000Z", 1440, "00:00"),
    ],
)
def test_a_window_ends_at_a_whole_multiple(recorded: str, minutes: int, end: str) -> None:
    assert f"{window_end(recorded, minutes):%H:%M}" == end


async def test_a_window_that_goes_on_is_waited_for_and_then_is_one_message(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url, severity="digest", digest_minutes=5)
    house.secret(channel)
    await house.record(FILL, REFUSED, Kind.CLOCK, FILL)
    before = datetime.now(UTC)
    await house.sender().turn(house.bench.scope, "channel", channel)
    row = house.delivery(channel)
    assert their.arrivals == []
    assert row["next_index"] == 0
    assert before < row["next_at"] <= before + timedelta(minutes=5, seconds=6), (
        "and not asked before"
    )
    house.execute("UPDATE channel_deliveries SET next_at = now()")
    await later(house, 6).turn(house.bench.scope, "channel", channel)
    (arrival,) = their.arrivals
    data = arrival.event["data"]
    assert arrival.event["type"] == "digest"
    assert arrival.id.endswith("-0-3-digest")
    assert (data["from"], data["to"], data["counts"], data["failures"]) == (
        0, 3, {"order.fill": 2, "order.rejected": 1}, 1,
    )  # fmt: skip
    assert [event["index"] for event in data["events"]] == [1, 0, 3], "failures first"
    assert house.delivery(channel)["next_index"] == 4


async def test_a_digest_that_failed_is_the_same_the_next_time_whatever_came_since(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url, severity="digest", digest_minutes=5)
    house.secret(channel)
    their.moods = [500]
    await house.record(FILL, FILL)
    house.execute("UPDATE channel_deliveries SET next_at = now()")
    await later(house, 11).turn(house.bench.scope, "channel", channel)
    shift_log(house, minutes=10)
    await house.record(REFUSED)
    house.execute("UPDATE channel_deliveries SET next_at = now()")
    await later(house, 6).turn(house.bench.scope, "channel", channel)
    assert len(set(their.ids[:2])) == 1
    assert [a.event["data"]["counts"] for a in their.arrivals[:3]] == [
        {"order.fill": 2}, {"order.fill": 2}, {"order.rejected": 1},
    ]  # fmt: skip


def shift_log(house: House, minutes: int) -> None:
    """What is in the log was taken so long ago: the next record is in a later window."""
    house.execute("ALTER TABLE audit_leaves DISABLE TRIGGER fence")
    house.execute(
        "UPDATE audit_leaves SET leaf = convert_to(regexp_replace(convert_from(leaf, 'UTF8'),"
        """ '"rt":"[^"]*"', '"rt":"' || %s || '"'), 'UTF8')""",
        (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000000000Z"),
    )


async def test_a_window_without_anything_that_was_asked_for_is_passed_in_silence(
    house: House, their: Receiver
) -> None:
    channel = house.channel(their.url, severity="digest", digest_minutes=5, events=["kill_switch"])
    house.secret(channel)
    await house.record(FILL, FILL)
    await later(house, 6).turn(house.bench.scope, "channel", channel)
    assert their.arrivals == []
    assert house.delivery(channel)["next_index"] == 2


async def test_a_mail_s_digest_counts_and_lists(
    house: House, certificate: Certificate, tmp_path: Path
) -> None:
    async with mail_server(certificate) as server:
        (tmp_path / "password").write_text("geheim\n")
        smtp = SmtpSettings(
            host="localhost", port=server.port, sender="p@example.com", user="portcullis",
            password_file=tmp_path / "password", ca_file=Path(certificate.certfile),
        )  # fmt: skip
        house.change(smtp=smtp)
        channel = house.channel(recipients=["a@example.com"], severity="digest", digest_minutes=5)
        await house.record(FILL, REFUSED)
        await later(house, 6).turn(house.bench.scope, "channel", channel)
    (mail,) = server.mails
    assert mail["Subject"] == "first: digest"
    text = mail.get_content()
    assert "records 0 to 1" in text
    assert "order.rejected: 1" in text
    assert "The broker refused an order  a-1  [1]" in text


async def test_a_process_of_the_version_before_is_not_given_what_it_cannot_serve(
    house: House, their: Receiver
) -> None:
    """A rolling upgrade: both versions run beside each other."""
    known = house.channel(their.url)
    new = [
        house.channel(kind="slack"),
        house.channel(their.url, severity="digest", digest_minutes=5),
    ]
    await house.record(FILL)
    found = {row[0] for row in house.bench.rows("SELECT channel_id FROM find_due_channels(10)")}
    assert found == {known}
    now = {row[0] for row in house.bench.rows("SELECT target_id FROM find_due_notifications(10)")}
    assert now == {known, *new}
