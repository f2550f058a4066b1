"""How the control API and the phone page refuse. The providers' own refusals live in their rooms."""

from __future__ import annotations


class Refused(Exception):
    """A request to the sandbox itself makes no sense; the message says what to change."""

    def __init__(self, message: str, *, code: str = "invalid", status: int = 422) -> None:
        super().__init__(message)
        self.message, self.code, self.status = message, code, status


class Dropped(Exception):
    """A fault wants the connection cut without an answer."""
