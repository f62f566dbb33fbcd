"""E-mail out: encrypted, a digest, at most one a minute for each channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from audit.record import Kind
from gateway.notify.mail import Letter, compose
from gateway.notify.outcome import Message
from gateway.notify.settings import SmtpSettings
from tenancy.clock import SystemClock
from tests.fakes.mail_server import MailServer, mail_server
from tests.fixtures.tls import Certificate
from tests.integration.notify.conftest import House

pytestmark = pytest.mark.stack
REFUSED, FILL, ALERT = Kind.ORDER_REJECTED, Kind.ORDER_FILL, Kind.ALERT
TO = ["desk@example.com", "risk@example.com"]


@pytest.fixture
async def server(
    house: House, certificate: Certificate, tmp_path: Path
) -> AsyncIterator[MailServer]:
    """A mail server with STARTTLS and a login, and a house that knows it."""
    (tmp_path / "password").write_text("geheim\n")
    async with mail_server(certificate) as made:
        house.change(
            smtp=SmtpSettings(
                host="localhost", port=made.port, sender="portcullis@example.com",
                user="portcullis", password_file=tmp_path / "password",
                ca_file=Path(certificate.certfile),
            )
        )  # fmt: skip
        yield made


async def test_one_mail_lists_what_happened_over_starttls_with_a_login(
    house: House, server: MailServer
) -> None:
    channel = house.channel(recipients=TO)
    await house.record(REFUSED, FILL, ALERT)
    async with house.dispatcher():
        row = await house.until(channel, next_index=3)
    assert len(server.mails) == 1
    mail = server.mails[0]
    assert server.over_tls == [True]
    assert server.logins == [("portcullis", "geheim")]
    assert server.recipients == [TO]
    assert mail["Subject"] == "first: 3 notifications (order.rejected 1, order.fill 1, alert 1)"
    assert mail["From"] == "portcullis@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "Tenant first, channel " in text
    for line in ("order.rejected", "order.fill", "alert", "    account_id: a-1", "    trace_id: "):
        assert line in text
    assert "k_rec" not in text
    assert "the payload stays" not in text
    assert row["last_success_at"] is not None


async def test_what_happens_within_the_minute_is_in_the_next_mail(
    house: House, server: MailServer
) -> None:
    house.change(mail_pause_s=1.0)
    channel = house.channel(recipients=TO)
    await house.record(REFUSED)
    async with house.dispatcher():
        await house.until(channel, next_index=1)
        for _ in range(3):
            await house.record(FILL)
        await asyncio.sleep(0.2)
        assert len(server.mails) == 1
        await house.until(channel, next_index=4)
    assert [mail["Subject"] for mail in server.mails] == [
        "first: order.rejected", "first: 3 notifications (order.fill 3)",
    ]  # fmt: skip


async def test_a_mail_that_is_refused_is_sent_again_with_the_same_message_id_and_nothing_is_lost(
    house: House, server: MailServer
) -> None:
    channel = house.channel(recipients=TO)
    server.answers = ["451 try later"]
    await house.record(REFUSED, FILL)
    async with house.dispatcher():
        await house.until(channel, next_index=2)
    assert len(server.mails) == 1
    random = house.bench.log.origin.rsplit("/", 1)[-1]
    assert server.mails[0]["Message-ID"] == f"<{random}-0.{random}-1@example.com>"


async def test_a_server_without_starttls_gets_nothing_in_clear(house: House) -> None:
    channel = house.channel(recipients=TO)
    async with mail_server(None) as plain:
        house.change(smtp=SmtpSettings(host="localhost", port=plain.port, sender="p@example.com"))
        await house.record(FILL)
        async with house.dispatcher():
            row = await house.until(channel, attempts=1)
        assert plain.mails == []
    assert row["last_error"].startswith("the mail was not sent: ")


async def test_a_certificate_that_nobody_vouches_for_ends_the_mail(
    house: House, certificate: Certificate
) -> None:
    channel = house.channel(recipients=TO)
    async with mail_server(certificate) as made:
        house.change(smtp=SmtpSettings(host="localhost", port=made.port, sender="p@example.com"))
        await house.record(FILL)
        async with house.dispatcher():
            row = await house.until(channel, attempts=1)
        assert made.mails == []
    assert row["last_error"].startswith("the mail was not sent: ")


async def test_without_a_mail_server_the_channel_says_so_and_waits(house: House) -> None:
    channel = house.channel(recipients=TO)
    await house.record(FILL)
    async with house.dispatcher():
        row = await house.until(
            channel, last_error="this installation has no mail server: [admin.smtp]"
        )
    assert (row["attempts"], row["next_index"]) == (0, 0)


async def test_one_recipient_who_is_unknown_does_not_cost_the_others_their_mail(
    house: House, server: MailServer
) -> None:
    channel = house.channel(recipients=TO)
    server.refused = {TO[0]}
    await house.record(FILL)
    async with house.dispatcher():
        await house.until(channel, next_index=1)
    assert server.recipients == [[TO[1]]]


def test_a_name_with_line_ends_in_it_writes_no_header() -> None:
    message = Message("x-1", "alert", "t", b'{"data":{"why":"a\\r\\nb"}}', 1)
    letter = Letter(
        tenant="A\r\nBcc: evil@example.com", channel="c\n", recipients=("a@example.com",),
        messages=(message,),
    )  # fmt: skip
    mail = compose(letter, "p@example.com", SystemClock())
    assert mail["Bcc"] is None
    assert b"\r\nBcc:" not in mail.as_bytes()
    assert "why: a  b" in mail.get_content()


def test_a_mail_server_in_clear_is_this_host_s_own() -> None:
    SmtpSettings(host="127.0.0.1", tls="none", sender="p@example.com")
    with pytest.raises(ValueError, match="mail server on this host"):
        SmtpSettings(host="mail.example.com", tls="none", sender="p@example.com")
    with pytest.raises(msgspec.ValidationError, match="both or neither"):
        msgspec.convert({"host": "h", "sender": "p@example.com", "user": "u"}, SmtpSettings)
