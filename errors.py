"""The few ways things fail, each with its HTTP status and its code.

Every floor raises these; only the edges turn them into answers. Imports nothing of ours.
"""

from __future__ import annotations

from typing import Any


class AppError(Exception):
    """Say to a person what was refused and what to do about it."""

    status = 500
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        details: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.field = field
        self.details = details
        self.headers = headers or {}

    def as_json(self) -> dict[str, Any]:
        """Give the `error` member of an answer; absent parts are left out."""
        parts = {"code": self.code, "message": self.message, "field": self.field, "details": self.details}
        return {name: value for name, value in parts.items() if value is not None}


class Malformed(AppError):
    status, code = 400, "malformed_request"


class Unauthenticated(AppError):
    status, code = 401, "unauthenticated"


class Forbidden(AppError):
    status, code = 403, "forbidden"


class NotFound(AppError):
    status, code = 404, "not_found"


class Conflict(AppError):
    status, code = 409, "conflict"


class TooLarge(AppError):
    status, code = 413, "too_large"


class UnsupportedMedia(AppError):
    status, code = 415, "unsupported_media_type"


class Invalid(AppError):
    status, code = 422, "invalid"


class RateLimited(AppError):
    status, code = 429, "rate_limited"


class Unavailable(AppError):
    """A part that we need (database, queue, storage) does not answer; the caller may try again."""

    status, code = 503, "unavailable"
