"""Where the API is and which key to show: options, the environment, else this host's own installation.

    --url       PORTCULLIS_URL        the management listener, https://host:9443
    --key-file  PORTCULLIS_KEY_FILE   a file of mode 0600 with one service key; never an argument
    --ca        PORTCULLIS_CA         the authority that signed the listener's certificate
    --as NAME                         the key var/secrets/keys/NAME.key of this host
    --me                              not a key: the person who signed in with `portcullis me login`

On the host itself none is needed: URL and authority come from var/portcullis.toml and what runs;
the key is the one in var/secrets/keys/ (operator.key for what only the platform does).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from ops import control
from ops.api_client import Api, Unreachable, connected
from ops.paths import Places, places
from ops.settings import read_settings
from tenancy.errors import ConfigurationError

T = TypeVar("T")
OPERATOR = "operator"


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What was said about it; None: find it."""

    settings: Path
    url: str | None = None
    key_file: Path | None = None
    ca: Path | None = None
    name: str | None = None
    me: bool = False
    nobody: bool = False
    platform: bool = False


OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--url", envvar="PORTCULLIS_URL", help="The management listener. [$PORTCULLIS_URL]"),
    click.option(
        "--key-file", envvar="PORTCULLIS_KEY_FILE", type=click.Path(path_type=Path),
        help="A file (0600) with a service key. [$PORTCULLIS_KEY_FILE]",
    ),
    click.option(
        "--ca", envvar="PORTCULLIS_CA", type=click.Path(path_type=Path),
        help="The authority that signed the listener's certificate. [$PORTCULLIS_CA]",
    ),
    click.option("--as", "as_name", help="The key of this name in var/secrets/keys/."),
    click.option("--me", "as_me", is_flag=True, help="As the person who signed in (portcullis me login)."),
)  # fmt: skip
NAMES = ("url", "key_file", "ca", "as_name", "as_me")


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that asks the API."""
    for one in reversed(OPTIONS):
        command = one(command)
    return command


def where(settings: Path, given: dict[str, Any], *, platform: bool = False) -> Where:
    """From a command's parameters; takes the connection's out of `given`."""
    taken = {name: given.pop(name, None) for name in NAMES}
    return Where(
        settings=settings, url=taken["url"], key_file=taken["key_file"], ca=taken["ca"],
        name=taken["as_name"], me=bool(taken["as_me"]), platform=platform,
    )  # fmt: skip


def keys_directory(settings: Path) -> Path:
    """Where this host keeps keys of the management API, one file each: `init` and `install` put the first there.

    Settings need not lie where the data is (/etc, /var/lib); without any there is only their own directory.
    """
    where = read_settings(settings).instance if settings.exists() else None
    return (places(settings.parent) if where is None else Places(where.var, where.runtime)).keys


def session_path() -> Path:
    """Where the signed-in person's token is, one per user of this machine."""
    return Path(click.get_app_dir("portcullis")) / "session"


def key_path(settings: Path, name: str) -> Path:
    """The file of the key called `name`: a tenant's name, made fit for a file's."""
    plain = re.sub(r"[^\w.-]+", "-", name.strip(), flags=re.UNICODE).strip("-.").lower()
    if not plain:
        raise ConfigurationError(f"{name!r} holds nothing that a file could be called")
    return keys_directory(settings) / f"{plain}.key"


def asked(place: Where, act: Callable[[Api], Awaitable[T]]) -> T:
    """Run one conversation with the API. Raises Refused, Unreachable, ConfigurationError."""

    async def run() -> T:
        async with connected(_url(place), _key(place), _authority(place)) as api:
            return await act(api)

    return asyncio.run(run())


def _url(place: Where) -> str:
    if place.url:
        if not place.url.startswith("https://"):
            raise ConfigurationError(f"--url {place.url}: https://host:port is needed")
        return place.url
    settings = read_settings(place.settings)
    state = control.state_of(settings)
    if state is not None:
        return state.urls["admin"]
    if settings.stack is not None:  # one machine's own: nobody else would have started it
        var = settings.instance.var
        raise Unreachable(f"nothing runs under {var}: `portcullis up` starts it", sent=False)
    return settings.admin.base_url


def _authority(place: Where) -> Path | None:
    if place.ca is not None:
        return place.ca
    own = place.settings.parent / "tls" / "ca.pem"
    return own if place.url is None and own.exists() else None


def _key(place: Where) -> Path | None:
    if place.nobody:
        return None
    if place.me:
        return session_path()
    if place.name is not None:
        return key_path(place.settings, place.name)
    if place.key_file is not None:
        return place.key_file
    if place.url is not None:  # a key of this host is shown to nobody who was not told to get it
        raise ConfigurationError("with --url say which key: --key-file FILE, or --as NAME")
    directory = keys_directory(place.settings)
    found = sorted(directory.glob("*.key")) if directory.is_dir() else []
    own = [path for path in found if (path.stem == OPERATOR) == place.platform]
    if len(own) == 1:
        return own[0]
    if not own:
        raise ConfigurationError(
            f"no key: {directory} holds none for this. On the host `portcullis tenant create NAME`"
            " makes a tenant and its first key, and --as operator is the platform's own; elsewhere"
            " name a file with --key-file or PORTCULLIS_KEY_FILE"
        )
    names = ", ".join(path.stem for path in own)
    raise ConfigurationError(f"several tenants have a key here: say --as NAME, one of {names}")
