"""Send an e-mail: one digest of what there is to tell, over an encrypted connection.

At most one mail a minute for each channel; what happens meanwhile is in the next. STARTTLS that the
server does not offer is a failure, not a reason to go on in clear.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib
import msgspec

from gateway.notify.outcome import Digest, Message, Outcome
from gateway.notify.settings import NotifySettings, SmtpSettings
from gateway.notify.words import headline, line
from tenancy.clock import Clock

LINES_MOST = 200
"""Records in one mail; the next are in the next."""
SUBJECT_MOST = 200


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What a mail is about."""

    tenant: str
    channel: str
    recipients: tuple[str, ...]
    messages: tuple[Message, ...]


def compose(letter: Letter, sender: str, clock: Clock) -> EmailMessage:
    """The mail. Its Message-ID is made of the records in it: a second copy has the same one."""
    first, last = letter.messages[0], letter.messages[-1]
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = ", ".join(letter.recipients)
    mail["Subject"] = _line(f"{letter.tenant}: {_what(letter.messages)}")[:SUBJECT_MOST]
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = f"<{first.id}.{last.id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no robot answers a robot
    mail.set_content("\r\n".join(_text(letter)) + "\r\n")
    return mail


def _what(messages: Sequence[Message]) -> str:
    counts = Counter(message.type for message in messages)
    if len(messages) == 1:
        return messages[0].type
    kinds = ", ".join(f"{name} {n}" for name, n in counts.most_common())
    return f"{len(messages)} notifications ({kinds})"


def _text(letter: Letter) -> list[str]:
    lines = [f"Tenant {_line(letter.tenant)}, channel {_line(letter.channel)}.", ""]
    for message in letter.messages:
        lines += [f"{message.timestamp}  {message.type}  [{message.id}]"]
        lines += [f"    {part}" for part in _facts(message)]
    return lines


def _facts(message: Message) -> list[str]:
    """The record's members, one a line, each cut: a mail is a notice, the log has the whole."""
    if isinstance(message.said, Digest):
        return list(_digest(message.said))
    body = msgspec.json.decode(message.body)
    data = body.get("data") or {}
    facts = {k: v for k in ("order_id", "account_id", "trace_id") if (v := data.get(k))}
    facts |= data.get("facts", data)  # a gap has its own
    return [_line(f"{name}: {_short(value)}") for name, value in facts.items()]


def _digest(digest: Digest) -> Iterator[str]:
    """How many of each kind, then what is worth a line."""
    yield f"records {digest.first} to {digest.last}, {digest.since[:16]} to {digest.until[:16]} UTC"
    yield from (f"{kind}: {n}" for kind, n in digest.counts.items())
    for event in digest.events:
        text = f"{event.at[:19]}Z  {headline(event)}  {line(event, amounts=True)}"
        yield _line(f"{text}  [{event.index}]")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 300 else text[:300] + "…"


def _line(text: str) -> str:
    """No character that ends a line or hides one: a name must not write headers."""
    return "".join(c if c.isprintable() else " " for c in text)


class Mailer:
    """Sends through the operator's mail server."""

    def __init__(self, settings: NotifySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def send(self, letter: Letter) -> Outcome:
        """One attempt. Never raises for what the other side does."""
        smtp = self._settings.smtp
        if smtp is None:
            return Outcome(
                delivered=False,
                ours=True,
                text="this installation has no mail server: [admin.smtp]",
            )
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._send(letter, smtp)
        except TimeoutError:
            return Outcome(delivered=False, text="the mail server did not answer in time")
        except aiosmtplib.SMTPResponseException as error:
            code, said = error.code, _line(str(error.message))[:200]
            return Outcome(
                delivered=False, status=code, text=f"the mail server said {code}: {said}"
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return Outcome(delivered=False, text=f"all {len(error.recipients)} recipients refused")
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return Outcome(delivered=False, text=f"the mail was not sent: {type(error).__name__}")

    async def _send(self, letter: Letter, smtp: SmtpSettings) -> Outcome:
        password = None
        if smtp.password_file is not None:
            password = (await asyncio.to_thread(smtp.password_file.read_text)).strip()
        ca_file = str(smtp.ca_file) if smtp.ca_file is not None else None
        async with aiosmtplib.SMTP(
            hostname=smtp.host,
            port=smtp.port,
            username=smtp.user,
            password=password,
            use_tls=smtp.tls == "tls",
            start_tls=smtp.tls == "starttls",
            tls_context=None if smtp.tls == "none" else ssl.create_default_context(cafile=ca_file),
            timeout=self._settings.timeout_s,
        ) as client:
            mail = compose(letter, smtp.sender, self._clock)
            refused, said = await client.send_message(mail, recipients=list(letter.recipients))
        text = f"accepted: {_line(said)[:200]}"
        if refused:
            text = f"accepted, but for {len(refused)} of {len(letter.recipients)} recipients: "
            text += ", ".join(sorted(refused))
        return Outcome(delivered=True, text=text, status=250)
