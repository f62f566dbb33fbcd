"""Filters on addresses: is one within networks, and which networks are of IPv4 or of IPv6."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any


def within(address: str, networks: Iterable[str]) -> bool:
    """Whether one of the networks holds the address. ValueError names what is neither."""
    one = ip_address(address)
    return any(one in ip_network(network) for network in networks)


def of_family(networks: Iterable[str], version: int) -> list[str]:
    """The networks (or single addresses) of IPv4 or of IPv6, in their order."""
    return [network for network in networks if ip_network(network).version == version]


class FilterModule:
    """Where Ansible looks."""

    def filters(self) -> dict[str, Any]:
        return {"within": within, "of_family": of_family}
