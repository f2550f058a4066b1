"""How the Graph API refuses: one exception, one JSON shape. The codes are the documented ones; decide by them only."""

from __future__ import annotations

import secrets
from typing import Any

# code → (HTTP status, title, details)
CODES: dict[int, tuple[int, str, str]] = {
    1: (500, "API Unknown", "An unknown error occurred."),
    2: (503, "API Service", "The service is temporarily unavailable."),
    4: (429, "API Too Many Calls", "The app has reached its API call rate limit."),
    10: (403, "Permission Denied", "Permission is either not granted or has been removed."),
    33: (400, "Parameter value is not valid", "The business phone number has been deleted."),
    100: (400, "Invalid parameter", "Invalid parameter"),
    190: (401, "Access token has expired", ""),
    551: (400, "Person unavailable", "This person isn't available right now."),
    613: (400, "Calls to this api have exceeded the rate limit", ""),
    368: (403, "Temporarily blocked for policies violations", "The account has been restricted."),
    80007: (429, "Rate limit issues", "The WhatsApp Business Account has reached its rate limit."),
    130429: (429, "Rate limit hit", "Cloud API message throughput has been reached."),
    130472: (400, "User's number is part of an experiment", "The message was not sent as part of an experiment."),
    131000: (500, "Something went wrong", "Message failed to send due to an unknown error."),
    131005: (403, "Access denied", "Permission is either not granted or has been removed."),
    131008: (400, "Required parameter is missing", "The request is missing a required parameter."),
    131009: (400, "Parameter value is not valid", "One or more parameter values are invalid."),
    131016: (503, "Service unavailable", "A service is temporarily unavailable."),
    131021: (400, "Recipient cannot be sender", "Sender and recipient phone number is the same."),
    131026: (400, "Message undeliverable", "Message Undeliverable."),
    131031: (403, "Account has been locked", "The account has been restricted or disabled."),
    131042: (400, "Business eligibility payment issue", "There was an error related to your payment method."),
    131047: (
        400, "Re-engagement message",
        "Message failed to send because more than 24 hours have passed since the customer last replied to this number.",
    ),
    131048: (400, "Spam rate limit hit", "There are restrictions on how many messages this number may send."),
    131049: (
        400, "This message was not delivered to maintain healthy ecosystem engagement.",
        "The message was not delivered to maintain healthy ecosystem engagement.",
    ),
    131050: (400, "User has stopped marketing messages", "The recipient chose to stop marketing messages from you."),
    131051: (400, "Unsupported message type", "Unsupported message type."),
    131052: (400, "Media download error", "Unable to download the media sent by the user."),
    131053: (400, "Media upload error", "Unable to upload the media used in the message."),
    131056: (
        400, "(Business Account, Consumer Account) pair rate limit hit",
        "Too many messages were sent from this phone number to the same phone number in a short time.",
    ),
    131062: (400, "Recipient phone number required", "This message cannot be sent to a business-scoped user ID."),
    132000: (400, "Number of parameters does not match the expected number of params", ""),
    132001: (404, "Template name does not exist in the translation", ""),
    132005: (400, "Translated text too long", ""),
    132012: (400, "Parameter format does not match format in the created template", ""),
    132015: (400, "Template is paused", "The template is paused because of low quality."),
    132016: (400, "Template is disabled", "The template was paused too often and is now disabled."),
    132018: (400, "There's an issue with the parameters in your template", ""),
}  # fmt: skip
DOCS = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"


class GraphError(Exception):
    """The Graph API refuses. `details` is what `error_data.details` says."""

    def __init__(
        self, code: int, details: str = "", *, status: int = 0, message: str = "", subcode: int | None = None
    ) -> None:
        known = CODES.get(code, (400, "Error", ""))
        self.code, self.details, self.subcode = code, details or known[2], subcode
        self.status = status or known[0]
        self.message = message or f"(#{code}) {self.details if code == 100 else known[1]}"
        super().__init__(self.message)

    def body(self, product: str = "") -> dict[str, Any]:
        """Write the JSON that a caller gets."""
        error: dict[str, Any] = {"message": self.message, "type": "OAuthException", "code": self.code}
        if product and self.details:
            error["error_data"] = {"messaging_product": product, "details": self.details}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.status >= 500 or self.status == 429:
            error["is_transient"] = True
        error["fbtrace_id"] = "A" + secrets.token_urlsafe(16)
        return {"error": error}


def item(code: int, details: str = "", title: str = "") -> dict[str, Any]:
    """Write an error as it stands in a callback: in a failed status or an unsupported message."""
    known = CODES.get(code, (400, "Error", ""))
    title = title or known[1]
    return {
        "code": code,
        "title": title,
        "message": title,
        "error_data": {"details": details or known[2] or title},
        "href": DOCS,
    }
