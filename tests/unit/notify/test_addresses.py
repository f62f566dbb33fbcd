"""Which addresses webhooks go to: globally reachable ones, and what an operator allows."""

from __future__ import annotations

import pytest

from gateway.notify.addresses import AddressRefused, Fence

REFUSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192",
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::",
    "2001:0:7f00:1::1", "100::1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        Fence(()).check(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_permitted(address: str) -> None:
    Fence(()).check(address)


def test_an_operator_s_network_is_permitted_and_its_neighbour_is_not() -> None:
    fence = Fence(("10.1.0.0/16", "fd00::/8"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        fence.check(address)
    with pytest.raises(AddressRefused):
        fence.check("10.2.0.1")


def test_a_name_passes_as_a_literal_and_an_address_does_not() -> None:
    Fence(()).check_literal("hooks.example")
    with pytest.raises(AddressRefused):
        Fence(()).check_literal("127.0.0.1")


def test_a_refusal_does_not_tell_the_address() -> None:
    """Names of an internal zone would otherwise be answered to whoever asks."""
    with pytest.raises(AddressRefused) as caught:
        Fence(()).check("10.1.2.3")
    assert "10.1" not in str(caught.value)
