"""Where a listener listens: at an address with TLS, or on a socket behind a proxy, and nothing between."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from ops.initialise import Choices, document
from ops.paths import places
from ops.settings import decode_settings
from ops.toml import dumps
from tenancy.errors import ConfigurationError

SOCKET = "/run/portcullis/listener.sock"


@pytest.fixture
def good() -> dict[str, Any]:
    return copy.deepcopy(document(places(Path("/srv/portcullis/var")), Choices()))


def behind_a_proxy(table: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in table.items() if name not in ("host", "port", "tls")}
    return {**kept, "socket": SOCKET}


@pytest.mark.parametrize("name", ["ingress", "admin"])
def test_behind_a_proxy_a_socket_is_all_that_is_needed(good: dict[str, Any], name: str) -> None:
    good[name] = behind_a_proxy(good[name])
    listener = getattr(decode_settings(dumps(good).encode()), name)
    assert (listener.socket, listener.address, listener.tls) == (Path(SOCKET), None, None)


@pytest.mark.parametrize("name", ["ingress", "admin"])
@pytest.mark.parametrize("missing", ["host", "port", "tls"])
def test_an_address_is_whole(good: dict[str, Any], name: str, missing: str) -> None:
    del good[name][missing]
    with pytest.raises(ConfigurationError, match=rf"host, port and tls are needed.*\$\.{name}"):
        decode_settings(dumps(good).encode())


@pytest.mark.parametrize(("key", "value"), [("host", "127.0.0.1"), ("port", 0)])
def test_a_socket_and_an_address_are_one_too_many(
    good: dict[str, Any], key: str, value: Any
) -> None:
    good["ingress"] = behind_a_proxy(good["ingress"]) | {key: value}
    with pytest.raises(ConfigurationError, match="host, port and tls are then the proxy's"):
        decode_settings(dumps(good).encode())


def test_client_certificates_are_looked_at_by_who_ends_tls(good: dict[str, Any]) -> None:
    admin = behind_a_proxy(good["admin"])
    good["admin"] = admin | {"client_ca": "/etc/portcullis/ca.pem"}
    with pytest.raises(ConfigurationError, match="the proxy looks at client certificates"):
        decode_settings(dumps(good).encode())
    good["admin"] = admin | {"notify_allow_networks": ["nowhere"]}
    with pytest.raises(ConfigurationError, match="nowhere"):
        decode_settings(dumps(good).encode())


def test_a_socket_that_the_kernel_cannot_bind_is_refused(good: dict[str, Any]) -> None:
    good["ingress"] = behind_a_proxy(good["ingress"]) | {"socket": "/" + "x" * 107}
    with pytest.raises(ConfigurationError, match="at most 107"):
        decode_settings(dumps(good).encode())
