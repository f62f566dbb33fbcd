"""Where a webhook may go: not to this house's own network, whatever a name says. Pure, but for the look-up.

A customer writes the address and we make the request, so without this a customer could reach what
only we can reach (SSRF). A name is looked up once; every address that it has must be permitted;
the connection is made to one of those very addresses, with no second look-up in between.

Refused: whatever is not globally reachable (private, loopback, link-local with the clouds' metadata
service, shared, reserved, multicast), IPv6 forms that carry such an IPv4 address inside, and the
metadata addresses that are public by their number. An operator may allow networks.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterator

from aiohttp.abc import AbstractResolver, ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a name. Raises OSError."""

NOT_PUBLIC = tuple(
    ipaddress.ip_network(text) for text in ("168.63.129.16/32", "192.0.0.0/24", "fec0::/10")
)
"""What the standard library calls global, or did in some version: Azure's service to its machines,
IETF protocol assignments (Oracle's metadata is there), site-local."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_V4_COMPATIBLE = ipaddress.ip_network("::/96")


class AddressRefused(OSError):
    """The name leads to where webhooks do not go. Its text is for the channel's owner."""


class Fence:
    """What is permitted. `loopback_only` is for plain http."""

    def __init__(self, allowed: tuple[str, ...], *, loopback_only: bool = False) -> None:
        self._allowed: list[Network] = [ipaddress.ip_network(text) for text in allowed]
        self._loopback_only = loopback_only

    def check(self, text: str) -> None:
        """Raises AddressRefused. The address itself is not told: it may be nobody's business."""
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        if self._loopback_only and not address.is_loopback:
            raise AddressRefused("plain http is for loopback: use https")
        if any(address in network for network in self._allowed):
            return
        if not all(_is_public(one) for one in _with_carried(address)):
            raise AddressRefused("the address is not a public one, and is not among those allowed")

    def check_literal(self, host: str) -> None:
        """The same for a host that may be an address already; a name passes, to be looked up."""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        self.check(host)


def _plain(address: Address) -> Address:
    """::ffff:127.0.0.1 is 127.0.0.1 to the kernel."""
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def _with_carried(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 addresses to which it would be translated or tunnelled."""
    if address in _NAT64:  # nothing but a way to write an IPv4 address (RFC 6052)
        yield ipaddress.IPv4Address(address.packed[-4:])
        return
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address in _V4_COMPATIBLE:
            yield ipaddress.IPv4Address(address.packed[-4:])
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_loopback
        and not address.is_link_local
        and not address.is_unspecified
        and not any(address in network for network in NOT_PUBLIC)
    )


async def system_lookup(host: str, port: int) -> list[str]:
    """The addresses that this host's resolver knows."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class FencedResolver(AbstractResolver):
    """aiohttp connects to what this returns, and to nothing else."""

    def __init__(self, fence: Fence, lookup: Lookup, timeout_s: float) -> None:
        self._fence, self._lookup, self._timeout_s = fence, lookup, timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(self._timeout_s):
                addresses = await self._lookup(host, port)
        except TimeoutError:
            raise OSError(f"the name was not found within {self._timeout_s:g} s") from None
        if not addresses:
            raise OSError("the name has no address")
        for address in addresses:
            self._fence.check(address)
        return [_result(host, address, port) for address in addresses]

    async def close(self) -> None:
        return None


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
