"""The session's end of the pipe: what it takes for a secret, and that nothing of it is left."""

import os
import socket
import threading
import traceback

import pytest

from hsm import handover, protocol
from hsm.errors import SealBroken, SignerUnavailable
from hsm.handover import handed

SECRET = b"hunter2-hunter2"


@pytest.fixture(autouse=True)
def hardened(monkeypatch) -> list[bool]:
    """Whether the process was hardened, which this one is not to be: dumps of a test run are welcome."""
    times: list[bool] = []
    monkeypatch.setattr(handover, "harden", lambda: times.append(True))
    return times


def pipe_with(answer: bytes) -> int:
    """A descriptor at which the signer has said so much, and then hung up."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(answer)
    return theirs.detach()


DONE = protocol.frame(protocol.Done(1, SECRET))


def test_the_secret_is_there_inside_the_block_and_zeros_are_there_after_it():
    with handed(pipe_with(DONE)) as secret:
        window = memoryview(secret.view().obj)
        assert bytes(secret.view()) == SECRET
        assert secret.text() == SECRET.decode()
        assert SECRET in bytes(window)
    assert not any(bytes(window))


def test_the_process_is_hardened_before_it_has_the_secret(hardened, monkeypatch):
    read = handover._read
    monkeypatch.setattr(handover, "_read", lambda *given: read(*given) if hardened else 0)
    with handed(pipe_with(DONE)) as secret:
        assert secret.text() == SECRET.decode()


def test_zeros_are_there_after_a_login_that_failed():
    windows = []

    def log_in() -> None:
        with handed(pipe_with(DONE)) as secret:
            windows.append(memoryview(secret.view().obj))
            raise ConnectionError("the broker hangs up")

    with pytest.raises(ConnectionError):
        log_in()
    assert not any(bytes(windows[0]))


def test_what_was_kept_of_it_by_mistake_cannot_be_read_any_more():
    with handed(pipe_with(DONE)) as secret:
        pass
    with pytest.raises(ValueError, match="released"):
        secret.view().tobytes()


def test_the_pipe_is_closed_before_the_login_begins():
    descriptor = pipe_with(DONE)
    with handed(descriptor), pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


def test_an_answer_in_pieces_is_put_together():
    ours, theirs = socket.socketpair()

    def slowly() -> None:
        for at in range(len(DONE)):
            ours.sendall(DONE[at : at + 1])

    writer = threading.Thread(target=slowly)
    writer.start()
    with handed(theirs.detach()) as secret:
        assert secret.text() == SECRET.decode()
    writer.join()
    ours.close()


def test_the_signers_refusal_is_raised_as_what_it_is():
    refusal = protocol.refusal(1, SealBroken("another account's"))
    with pytest.raises(SealBroken, match="another account's"), handed(pipe_with(refusal)):
        pytest.fail("nothing was handed over")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "ended"), (DONE[:-1], "ended"), (b"\0\0\xff\xff" + SECRET, "length"),
        (b"\0\0\0\0", "length"), (b"\0\0\0\x0f" + SECRET, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_unavailable_and_is_not_shown(sent, words):
    with pytest.raises(SignerUnavailable, match=words) as raised, handed(pipe_with(sent)):
        pytest.fail("nothing was handed over")
    assert "hunter2" not in "".join(traceback.format_exception(raised.value)) + repr(raised.value)


def test_a_signer_that_says_nothing_is_not_waited_for_longer_than_said():
    ours, theirs = socket.socketpair()
    with ours, pytest.raises(SignerUnavailable, match="Timeout"):
        handed(theirs.detach(), timeout_s=0.05).__enter__()


def test_a_secret_that_is_no_text_is_not_shown_in_the_error():
    answer = protocol.frame(protocol.Done(1, SECRET + b"\xff"))
    with pytest.raises(SignerUnavailable) as raised, handed(pipe_with(answer)) as secret:
        secret.text()
    assert raised.value.__context__ is None
    assert "hunter2" not in repr(raised.value)
    assert repr(secret) == "<Handed secret>"


def test_a_secret_of_the_greatest_size_fits():
    assert len(protocol.frame(protocol.Done(2**63, b"x" * 256))) < handover.ANSWER_MAX_BYTES
