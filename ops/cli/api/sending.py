"""`portcullis hook send`: a signal of one's own, signed as any sender would."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ops import control
from ops.cli.api import names
from ops.cli.api.completion import completes
from ops.cli.api.connection import asked, connection_options, where
from ops.settings import read_settings
from ops.trial.sender import Hook, Sent, sender
from tenancy.errors import Invalid


@click.command("send")
@click.argument("hook_id", metavar="HOOK", shell_complete=completes("hook_id"))
@click.argument("body")
@click.option(
    "--secret-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the whsec_ secret (v1) or the whsk_ key (v1a); else it is asked for.",
)  # fmt: skip
@click.option("--message-id", help="Repeat a message under its own id.")
@connection_options
@click.pass_obj
def send(
    settings: Path, hook_id: str, body: str, secret_file: Path | None, message_id: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Sign BODY (a JSON object) and send it to a hook of this installation.

    \b
    Example:
      portcullis hook send main '{"ticker": "BTC_USDT", "action": "buy"}' --secret-file trend.hook
    """
    try:
        fields = json.loads(body)
    except json.JSONDecodeError as error:
        raise Invalid(f"BODY is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise Invalid("BODY: a JSON object is needed")
    secret = (
        secret_file.read_text().strip()
        if secret_file
        else click.prompt("The hook's secret (whsec_…)", hide_input=True)
    )
    place = where(settings, given)

    async def read(api: Any) -> Any:
        return await api.get(f"/v1/hooks/{await names.identify(api, 'hook_id', hook_id)}")

    found = asked(place, read)
    ours = settings.exists() and place.url is None
    url = _listener(settings) if ours else _origin(found["address"])
    authority = settings.parent / "tls" / "ca.pem" if ours else place.ca
    sent = asyncio.run(_send(url, authority, Hook(found["hook_id"], secret), message_id, fields))
    click.echo(f"{sent.status or 'no answer'} after {sent.took_s * 1000:.1f} ms\n{sent.answer}")
    sys.exit(0 if sent.status == 202 else 1 if sent.status else 3)


async def _send(
    url: str, authority: Path | None, hook: Hook, message_id: str | None, fields: dict[str, Any]
) -> Sent:
    async with sender(url, authority, hook) as strategy:
        return await strategy.send(message_id, **fields)


def _listener(settings: Path) -> str:
    """Where this installation's public listener is just now; its port may be a free one."""
    read = read_settings(settings)
    state = control.state_of(read)
    return state.urls["ingress"] if state is not None else read.ingress.base_url


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
