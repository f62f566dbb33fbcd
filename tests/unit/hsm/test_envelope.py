"""Sealed rows: what their MAC covers, and what is no row."""

from uuid import UUID

import msgspec
import pytest

from hsm.envelope import SealedKey, SealedSecret, name_of, pack, unpack
from hsm.errors import SealBroken

TENANT, OTHER = UUID(int=1), UUID(int=2)
ROW = SealedKey(TENANT, "account", "gateio", 1, b"wrapped", b"mac")


def test_a_row_comes_back_as_it_was():
    assert unpack(pack(ROW)) == ROW
    secret = SealedSecret(TENANT, "s", "hook", 1, b"w", b"m")
    assert unpack(pack(secret)) == secret


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": OTHER}, {"subject": "other"}, {"purpose": "hook"}, {"kek_version": 2},
        {"wrapped": b"other"},
    ],
)  # fmt: skip
def test_the_mac_covers_every_other_field(change):
    assert msgspec.structs.replace(ROW, **change).under_mac() != ROW.under_mac()


def test_the_mac_covers_the_kind():
    """The same fields as a secret to be opened are another row."""
    secret = SealedSecret(*(getattr(ROW, name) for name in ROW.__struct_fields__))
    assert secret.under_mac() != ROW.under_mac()


def test_fields_cannot_run_into_each_other():
    one = SealedKey(TENANT, "ab", "c", 1, b"", b"")
    two = SealedKey(TENANT, "a", "bc", 1, b"", b"")
    assert one.under_mac() != two.under_mac()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc0", pack(ROW)[:-1], pack(ROW).replace(b"key/1", b"key/2"),
        msgspec.msgpack.encode(["key/1", str(TENANT), "s", "p", 1, b"", b"", "more"]), bytes(5000),
    ],
)  # fmt: skip
def test_what_is_no_row_is_refused(data):
    with pytest.raises(SealBroken):
        unpack(data)


def test_no_blob_is_in_the_repr():
    assert "wrapped" not in repr(ROW)
    assert "mac" not in repr(ROW)


def test_names_are_sixteen_bytes_and_differ():
    assert len(name_of(b"a")) == 16
    assert name_of(b"a") != name_of(b"b")


def test_text_that_is_no_utf_8_is_no_sealed_row():
    """msgspec raises another error for it than for every other flaw."""
    with pytest.raises(SealBroken, match="not a sealed row"):
        unpack(b"\x91\xaf" + b"{\x8d\x8f}\xfeF\x88\xff\x17\xfe\xa5 \x10\xe7\xcff")
