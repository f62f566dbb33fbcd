"""Frames and messages: any cut of the stream gives the same requests; what is too big is refused."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm import protocol
from hsm.errors import MalformedRequest

SIGN = protocol.SignRequest(
    7, bytes(16), b"sealed", UUID(int=1), UUID(int=2), "gateio", "GET", "/p", "q", b"body", 1
)


@pytest.mark.parametrize(
    "request_",
    [
        SIGN, protocol.Status(1), protocol.SignNote(1, "l", b"t"), protocol.PublicKey(1, "l"),
        protocol.OpenSecret(1, b"s", UUID(int=1), "x"), protocol.EnrolKey(1),
        protocol.SealKey(1, UUID(int=1), UUID(int=2), "gateio", b"c"),
        protocol.SealSecret(1, UUID(int=1), "s", "hook", b"c"),
    ],
)  # fmt: skip
def test_every_request_is_read_as_it_was_sent(request_):
    (body,) = protocol.FrameReader().feed(protocol.frame(request_))
    assert protocol.read_request(body) == request_


@given(st.lists(st.integers(1, 2**31), min_size=1, max_size=8), st.integers(1, 20))
def test_the_cut_of_the_stream_does_not_matter(ids, step):
    stream = b"".join(protocol.frame(protocol.Status(number)) for number in ids)
    reader = protocol.FrameReader()
    bodies = []
    for at in range(0, len(stream), step):
        bodies += reader.feed(stream[at : at + step])
    assert [protocol.read_request(body).id for body in bodies] == ids


def test_a_frame_beyond_the_limit_is_refused_before_it_is_kept():
    with pytest.raises(MalformedRequest):
        protocol.FrameReader().feed((protocol.MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


@pytest.mark.parametrize(
    "change",
    [
        {"body": bytes(protocol.MAX_BODY_BYTES + 1)}, {"name": b"short"},
        {"path": "/" * 5000}, {"path": "/" * 3000, "query": "q" * 3000}, {"sealed": bytes(5000)},
    ],
)  # fmt: skip
def test_a_field_beyond_its_size_is_refused(change):
    import msgspec

    (body,) = protocol.FrameReader().feed(protocol.frame(msgspec.structs.replace(SIGN, **change)))
    with pytest.raises(MalformedRequest):
        protocol.read_request(body)


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x92\xa4none\x01", b"\x92\xa6status\xa1x"])
def test_what_is_no_request_is_refused(body):
    with pytest.raises(MalformedRequest):
        protocol.read_request(body)


def test_an_answer_has_no_value_in_its_repr():
    assert "hunter2" not in repr(protocol.Done(1, b"hunter2"))


def test_a_text_that_is_no_utf_8_is_refused_as_any_other_flaw():
    (body,) = protocol.FrameReader().feed(protocol.frame(SIGN))
    text = SIGN.path.encode()
    assert body.count(text) == 1
    with pytest.raises(MalformedRequest):
        protocol.read_request(body.replace(text, b"\x8d" * len(text)))
