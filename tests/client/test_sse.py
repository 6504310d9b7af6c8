"""Server-Sent Events, however the network cuts them up."""

import itertools

import pytest
from darkroom.sse import MAX_EVENT_LENGTH, Decoder, Message, StreamError
from hypothesis import given
from hypothesis import strategies as st

STREAM = (
    ": keep-alive\n\n"
    "event: queued\ndata: {}\n\n"
    "id: 1-0\r\nevent: running\r\ndata: 日本\r\n\r\n"
    "data: two\rdata:lines\r\r"
    "retry: 5\nid: 2-0\nevent: nothing\n\n"
    "data: last\nid: 3-0\n\n"
    "event: cut\ndata: never whole\nid: 4-0\n"
).encode()
MESSAGES = [
    Message(name="queued", data="{}", last_id=""),
    Message(name="running", data="日本", last_id="1-0"),
    Message(name="message", data="two\nlines", last_id="1-0"),
    Message(name="message", data="last", last_id="3-0"),
]


@given(cuts=st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_whatever_the_pieces(cuts: list[int]) -> None:
    decoder, messages = Decoder(), list[Message]()
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        messages += decoder.feed(STREAM[start:end])
    assert messages == MESSAGES


def test_an_event_that_did_not_come_whole_is_asked_for_again() -> None:
    decoder = Decoder()
    list(decoder.feed(STREAM))
    assert decoder.last_id == "3-0"


@pytest.mark.parametrize("piece", [b"x" * 1_000_000, b"data: " + b"x" * 1_000_000 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    decoder = Decoder()
    for _ in range(MAX_EVENT_LENGTH // len(piece)):
        list(decoder.feed(piece))
    with pytest.raises(StreamError):
        list(decoder.feed(piece))
