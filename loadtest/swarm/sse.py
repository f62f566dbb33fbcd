"""The lines of an event stream as events, as a browser reads them. Pure.

Source: WHATWG HTML, section 9.2.6 (fields `id`, `event` and `data`; a colon at the start is a comment).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One event. `last_id`: what the client would come back with."""

    kind: str
    data: str
    last_id: str


class Reader:
    """Feed it lines without their ends; it gives an event at each blank line that ends one."""

    def __init__(self) -> None:
        self.last_id = ""
        self._kind = ""
        self._data: list[str] = []

    def line(self, text: str) -> Event | None:
        if not text:
            return self._dispatched()
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._kind = value
            case "id" if "\0" not in value:
                self.last_id = value
        return None

    def _dispatched(self) -> Event | None:
        kind, data = self._kind or "message", self._data
        self._kind, self._data = "", []
        return Event(kind, "\n".join(data), self.last_id) if data else None
