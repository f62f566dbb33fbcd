"""The listeners' certificates: good for how long, for our name, with our key, and the ones that are shown?"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground, in_thread
from ops.listener_settings import Tls

SUBJECT = "certificates"
SOON, NOW = timedelta(days=30), timedelta(days=7)
SHOWN_WITHIN_S = 3.0


class Chain(NamedTuple):
    """The file of one listener. `why`: why it could not be read; all else is then empty.

    `chain_broken`: a certificate is not signed by the one behind it. `fits`: None where the key may
    not be read by us. `shown`: SHA-256 of what the listener shows now, None where it was not asked
    or does not answer.
    """

    listener: str
    path: Path
    host: str
    why: str = ""
    names: tuple[str, ...] = ()
    from_at: datetime | None = None
    until: datetime | None = None
    length: int = 0
    self_signed: bool = False
    chain_broken: bool = False
    fits: bool | None = None
    fingerprint: str = ""
    asked: bool = False
    shown: str | None = None


async def examine(ground: Ground) -> list[Finding]:
    now = datetime.now(UTC)
    seen = await asyncio.gather(
        *(
            _look(ground, name, at.tls, at.address[0], at.base_url)
            for name, at in ground.settings.listeners.items()
            if at.tls is not None and at.address is not None  # else the proxy's: proxied.py
        )
    )
    return [finding for one in seen for finding in judge(one, now)]


async def _look(ground: Ground, listener: str, tls: Tls, at: str, base_url: str) -> Chain:
    host = urlsplit(base_url).hostname or ""
    seen = await in_thread(read, listener, tls, host)
    if ground.state is None or listener not in ground.state.urls:
        return seen
    port = urlsplit(ground.state.urls[listener]).port or 0
    there = await shown(_reachable(at), port, host)
    fingerprint = None if there is None else there.fingerprint(hashes.SHA256()).hex()
    return seen._replace(asked=True, shown=fingerprint)


def read(listener: str, tls: Tls, host: str) -> Chain:
    """What the files say."""
    try:
        chain = x509.load_pem_x509_certificates(tls.certificate.read_bytes())
    except (OSError, ValueError) as error:
        return Chain(listener, tls.certificate, host, why=str(error))
    first = chain[0]
    return Chain(
        listener, tls.certificate, host,
        names=names_of(first), from_at=first.not_valid_before_utc,
        until=min(one.not_valid_after_utc for one in chain),
        length=len(chain), self_signed=first.issuer == first.subject,
        chain_broken=not all(_signed(one, by) for one, by in pairwise(chain)),
        fits=_fits(first, tls.key), fingerprint=first.fingerprint(hashes.SHA256()).hex(),
    )  # fmt: skip


async def shown(host: str, port: int, name: str) -> x509.Certificate | None:
    """The certificate that a listener shows, whoever signed it; None: no answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = (
        False,
        ssl.CERT_NONE,
    )  # it is looked at, not trusted
    try:
        async with asyncio.timeout(SHOWN_WITHIN_S):
            _, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname=name or None
            )
    except (OSError, TimeoutError):
        return None
    try:
        peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()  # no goodbye to wait for
    return x509.load_der_x509_certificate(peer)


def judge(seen: Chain, now: datetime) -> list[Finding]:
    if seen.until is None or seen.from_at is None:
        then = f"Put a PEM chain at {seen.path}: server first, then its intermediates."
        return [Finding(SUBJECT, seen.listener, "wrong", f"{seen.path}: {seen.why}", then)]
    return [
        time_left(SUBJECT, f"{seen.listener}, time", now, seen.from_at, seen.until, _renewed(seen)),
        name_fits(SUBJECT, f"{seen.listener}, name", seen.names, seen.host, _ANOTHER),
        _key(seen),
        *_chain(seen),
        *_shown(seen),
    ]


_ANOTHER = "Get one for the name in base_url, or correct base_url: senders check the name."


def _renewed(seen: Chain) -> str:
    return (
        f"Get a new one, write it to {seen.path} with its key, then restart {seen.listener} "
        "(docs/operating/doctor.md)."
    )


def time_left(
    subject: str, what: str, now: datetime, begins: datetime, ends: datetime, then: str
) -> Finding:
    """`then`: how it is renewed. Pure."""
    if now < begins:
        text = f"good only from {begins:%Y-%m-%d %H:%M} UTC"
        return Finding(subject, what, "wrong", text, "Is the clock right? Else: " + then)
    left = ends - now
    text = f"ends {ends:%Y-%m-%d %H:%M} UTC, in {left.days} days"
    if left <= timedelta(0):
        text = f"ended {ends:%Y-%m-%d %H:%M} UTC: every sender refuses us"
    level: Level = "wrong" if left < NOW else "warning" if left < SOON else "well"
    return Finding(subject, what, level, text, "" if level == "well" else then)


def name_fits(subject: str, what: str, names: tuple[str, ...], host: str, then: str) -> Finding:
    """`then`: what to do where it is for somebody else. Pure."""
    if covers(names, host):
        return well(subject, what, f"is for {host}")
    text = f"is for {', '.join(names) or 'nobody'}, base_url says {host}"
    return Finding(subject, what, "wrong", text, then)


def _key(seen: Chain) -> Finding:
    what = f"{seen.listener}, key"
    if seen.fits is None:
        then = "Ask as the user that runs us, or as root."
        return Finding(SUBJECT, what, "unseen", "the key may not be read by us, or is none", then)
    if not seen.fits:
        then = "Certificate and key were not renewed together: put the pair that belongs together."
        return Finding(SUBJECT, what, "wrong", "the key is another certificate's", then)
    return well(SUBJECT, what, "fits")


def _chain(seen: Chain) -> list[Finding]:
    what = f"{seen.listener}, chain"
    if seen.chain_broken:
        then = "Order the file: server, then who signed it, and so on; the root may be left out."
        return [Finding(SUBJECT, what, "wrong", "one is not signed by the next", then)]
    if seen.length == 1 and not seen.self_signed and not _is_here(seen.host):
        then = (
            "Append the intermediate certificates, unless a root signed it: many senders fetch "
            "none."
        )
        return [Finding(SUBJECT, what, "warning", "the file holds no intermediate", then)]
    return [well(SUBJECT, what, f"{seen.length} in the file, in order")]


def _shown(seen: Chain) -> list[Finding]:
    what = f"{seen.listener}, shown"
    if not seen.asked:
        return []
    if seen.shown is None:
        then = f"See processes and ports; then the log of {seen.listener}."
        return [Finding(SUBJECT, what, "wrong", "the listener does not answer TLS", then)]
    if seen.shown != seen.fingerprint:
        then = (
            "It was renewed on disk only: restart us (`portcullis down`, `portcullis up`) in a "
            "quiet minute."
        )
        return [Finding(SUBJECT, what, "warning", "another than in the file is shown", then)]
    return [well(SUBJECT, what, "the one in the file")]


def covers(names: tuple[str, ...], host: str) -> bool:
    """RFC 6125: the name itself, or a wildcard for its first label. Pure."""
    host = host.lower()
    parent = host.partition(".")[2]
    return any(
        name.lower() == host or (name.startswith("*.") and name[2:].lower() == parent)
        for name in names
    )


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _signed(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _fits(certificate: x509.Certificate, key: Path) -> bool | None:
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    return private.public_key() == certificate.public_key()


def _reachable(host: str) -> str:
    """Where a listener on this address is reached from this host."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
