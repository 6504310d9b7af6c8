"""Server-Sent Events, from bytes as they come (WHATWG HTML, section 9.2.6)."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: What one event may take, in characters: a preview is some ten thousand.
MAX_EVENT_LENGTH: Final = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event of a stream."""

    name: str
    data: str
    #: Where a reader that is cut off goes on; empty where it cannot.
    last_id: str


class StreamError(ValueError):
    """What comes is no stream of events."""


class Decoder:
    """Bytes in, in pieces of any size; events out."""

    def __init__(self, last_id: str = "") -> None:
        #: Where to go on after a cut: the id of the last event that came whole.
        self.last_id = last_id
        self._id = last_id
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._buffer = ""
        self._name, self._data = "", list[str]()

    def feed(self, piece: bytes) -> Iterator[Message]:
        """
        Raises:
            StreamError: an event is larger than any that the service sends.
        """
        self._buffer += self._text.decode(piece)
        if len(self._buffer) + sum(map(len, self._data)) > MAX_EVENT_LENGTH:
            raise StreamError("an event without end")
        # A carriage return that ends a piece may be half of a line's end.
        held = "\r" if self._buffer.endswith("\r") else ""
        whole = self._buffer.removesuffix(held)
        *lines, rest = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._buffer = rest + held
        for line in lines:
            if message := self._take(line):
                yield message

    def _take(self, line: str) -> Message | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _dispatch(self) -> Message | None:
        self.last_id = self._id
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        if not data:
            return None
        return Message(name=name, data="\n".join(data), last_id=self.last_id)
