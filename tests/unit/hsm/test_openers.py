"""Who may have which secrets opened: whoever is not named, nothing."""

from pathlib import Path
from uuid import UUID

import pytest

from hsm import protocol
from hsm.envelope import SealedKey, SealedSecret, pack
from hsm.errors import SealBroken, SigningRefused
from hsm.openers import NONE, Door, Leave, check_leave, leave_at, leave_of
from hsm.policy import OPENABLE_PURPOSES
from hsm.settings import read_daemon_settings
from tenancy.errors import ConfigurationError

TENANT = UUID(int=1)
NOTE = protocol.SignNote(1, "log", b"")


def opening(purpose: str) -> protocol.OpenSecret:
    sealed = pack(SealedSecret(TENANT, "s", purpose, 1, b"w", b"m"))
    return protocol.OpenSecret(1, sealed, TENANT, "s")


@pytest.mark.parametrize("purpose", sorted(OPENABLE_PURPOSES))
def test_each_purpose_is_opened_for_those_who_are_named_for_it_and_nobody_else(purpose):
    check_leave(opening(purpose), Leave(frozenset({purpose})))
    others = OPENABLE_PURPOSES - {purpose}
    for leave in (NONE, Leave(signs=True), Leave(others, signs=True)):
        with pytest.raises(SigningRefused, match=purpose):
            check_leave(opening(purpose), leave)


def test_at_the_main_socket_a_user_opens_what_he_is_named_for():
    openers = {1201: ["hook"], 1202: ["channel", "totp"]}
    assert leave_of(openers, 1201) == Leave(frozenset({"hook"}), signs=True)
    assert leave_of(openers, 0) == Leave(frozenset(), signs=True)


def test_a_door_signs_nothing_unless_it_says_so():
    door = Door(socket=Path("/d"), purposes=["hook"])
    with pytest.raises(SigningRefused, match="nothing else"):
        check_leave(NOTE, leave_at(door))
    check_leave(NOTE, leave_at(Door(socket=Path("/d"), purposes=[], signs=True)))


def test_what_is_no_sealed_row_is_refused_as_such():
    with pytest.raises(SealBroken):
        check_leave(protocol.OpenSecret(1, b"junk", TENANT, "s"), NONE)


def test_a_signing_key_is_left_to_the_token_which_never_gives_it_out():
    row = pack(SealedKey(TENANT, "s", "gateio", 1, b"w", b"m"))
    check_leave(protocol.OpenSecret(1, row, TENANT, "s"), NONE)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("openers = { 0 = ['everything'] }", "everything"),
        ("openers = { root = ['hook'] }", "int"),
        ("[doors.a]\nsocket = '/a'\npurposes = ['gateio']", "gateio"),
        ("[doors.a]\nsocket = '/a'", "purposes"),
        ("[doors.a]\nsocket = '/s'\npurposes = []", "a socket of its own"),
        (f"[doors.a]\nsocket = '{'/x' * 60}'\npurposes = []", "107"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, more, words):
    path = tmp_path / "c.toml"
    path.write_text(
        'module = "/m"\ntoken_label = "t"\npin_file = "/p"\nsocket = "/s"\n' + more + "\n"
    )
    with pytest.raises(ConfigurationError, match=words):
        read_daemon_settings(path)
