"""Where PINs come from, and what is said where one does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsm.pins import asking, is_file, make_pin, read_pin
from tenancy.errors import ConfigurationError

PIN = "a PIN that no message may quote"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "sign.pin"
    path.touch(mode=0o600)
    path.write_text(PIN + "\nwhat follows is not read\n")
    return path


def test_a_file_gives_its_first_line(file):
    assert read_pin(file) == PIN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o666])
def test_a_file_that_others_may_reach_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 0600") as refused:
        read_pin(file)
    assert PIN not in str(refused.value)


def test_a_missing_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none.pin: No such file"):
        read_pin(tmp_path / "none.pin")
    empty = tmp_path / "empty.pin"
    empty.touch(mode=0o600)
    with pytest.raises(ConfigurationError, match=r"empty.pin is empty"):
        read_pin(empty)


def test_a_systemd_credential_is_found_in_its_directory(file, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    file.chmod(0o440)  # as systemd has it: closed by the directory
    assert read_pin(Path("credential:sign.pin")) == PIN


@pytest.mark.parametrize("name", ["", "../sign.pin", "/etc/passwd", ".hidden"])
def test_a_credentials_name_leads_nowhere_else(file, monkeypatch, name):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    with pytest.raises(ConfigurationError, match="not the name of a credential"):
        read_pin(Path(f"credential:{name}"))


def test_without_systemd_a_credential_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationError, match=r"LoadCredential=sign.pin"):
        read_pin(Path("credential:sign.pin"))


def test_a_person_is_asked_once_in_a_ceremony_and_again_in_the_next():
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return PIN

    for _ in range(2):
        with asking(ask):
            assert read_pin(Path("prompt:sign token")) == PIN
            assert read_pin(Path("prompt:sign token")) == PIN
    assert asked == ["PIN of sign token: "] * 2


def test_a_new_pin_is_typed_twice_and_two_that_differ_are_none():
    typed = [PIN, PIN]
    with asking(lambda question: typed.pop(0)):
        assert make_pin(Path("prompt:sign token")) == PIN
        assert read_pin(Path("prompt:sign token")) == PIN
    typed = [PIN, PIN + "x"]
    with asking(lambda question: typed.pop(0)), pytest.raises(ConfigurationError, match="differ"):
        make_pin(Path("prompt:sign token"))


def test_a_daemon_that_would_have_to_ask_says_so():
    with pytest.raises(ConfigurationError, match="nobody is there"):
        read_pin(Path("prompt:sign token"))


def test_nothing_typed_is_no_pin():
    with asking(lambda question: ""), pytest.raises(ConfigurationError, match="is empty"):
        read_pin(Path("prompt:sign token"))


def test_a_pin_is_made_for_an_absent_file_alone(tmp_path):
    path = tmp_path / "new.pin"
    made = make_pin(path)
    assert (len(made), path.stat().st_mode & 0o777) == (32, 0o600)
    assert make_pin(path) == made == read_pin(path)


def test_only_paths_are_files():
    assert is_file(Path("/run/sign.pin"))
    assert not is_file(Path("prompt:sign"))
    assert not is_file(Path("credential:sign"))
