"""Gate's refusals: an error label with its HTTP status and a message.

Labels are those of Gate's published list. Statuses follow its rule (401 for authentication, other
4xx for what is malformed or not possible); REQUEST_EXPIRED is 403, as users of the live venue report.
"""

from __future__ import annotations

STATUS = {
    "MISSING_REQUIRED_HEADER": 400,
    "REQUEST_EXPIRED": 403,
    "INVALID_KEY": 401,
    "INVALID_SIGNATURE": 401,
    "FORBIDDEN": 403,
    "READ_ONLY": 403,
    "IP_FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "ORDER_NOT_FOUND": 404,
    "ORDER_FINISHED": 404,
    "ORDER_CLOSED": 404,
    "ORDER_CANCELLED": 404,
    "TOO_MANY_REQUESTS": 429,
    "INTERNAL": 500,
}
"""Labels whose status is not 400."""


class Refusal(Exception):
    """The venue says no. `label` is Gate's word, `status` the HTTP status it comes with."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(f"{label}: {message}")
        self.label = label
        self.message = message
        self.status = STATUS.get(label, 400)


def invalid(name: str, value: object) -> Refusal:
    """INVALID_PARAM_VALUE in Gate's own words."""
    return Refusal("INVALID_PARAM_VALUE", f"Invalid parameter `{name}` with value: {value}")
