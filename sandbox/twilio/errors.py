"""Twilio's refusals: the code, its HTTP status and its words.

Codes: https://www.twilio.com/docs/api/errors; the body: https://www.twilio.com/docs/usage/twilios-response
"""

from __future__ import annotations

from typing import Any

_REFUSALS: dict[int, tuple[int, str]] = {
    20001: (400, "Unknown parameters"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20005: (401, "Account not active"),
    20006: (403, "Access Denied"),
    20009: (409, "Resource is not in a final state"),
    20404: (404, "The requested resource {what} was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    20503: (503, "Service is unavailable. Please try again"),
    21211: (400, "Invalid 'To' Phone Number: {what}"),
    21212: (400, "Invalid From Number (caller ID): {what}"),
    21266: (400, "'To' and 'From' number cannot be the same: {what}"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The 'From' phone number provided ({what}) is not a valid message-capable Twilio phone number for "
            "this destination."),
    21609: (400, "The 'StatusCallback' URL {what} is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
    21612: (400, "The 'To' phone number: {what}, is not currently reachable using the 'From' phone number via MMS."),
    21614: (400, "'To' number is not a valid mobile number: {what}"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21619: (400, "A text message body or media urls must be specified."),
    21620: (400, "Media urls: {what} are invalid. Please use only valid http and https urls"),
    21623: (400, "Number of media files exceeds allowed limit"),
    21659: (400, "'From' {what} is not a Twilio phone number or Short Code country mismatch"),
    21660: (400, "Mismatch between the 'From' number {what} and the account"),
    21701: (400, "The Messaging Service with SID {what} does not exist"),
    21703: (400, "The Messaging Service does not have any phone numbers associated with it"),
}  # fmt: skip
LATER = {
    11200: "HTTP retrieval failure",
    12300: "Invalid Content-Type",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30019: "Content size exceeds carrier limit",
}
FAILED = frozenset({11200, 12300, 30001, 30002, 30019})  # before a carrier had it, so `failed` and not `undelivered`


class TwilioError(Exception):
    """A refusal of the API; `what` goes into the words that the code has."""

    def __init__(self, code: int, what: str = "", *, status: int = 0, message: str = "") -> None:
        usual, words = _REFUSALS.get(code, (400, "The request was refused"))
        super().__init__(code)
        self.code, self.status = code, status or usual
        self.message = message or words.replace("{what}", what)

    def body(self) -> dict[str, Any]:
        """Give `{"code", "message", "more_info", "status"}`."""
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        return {"code": self.code, "message": self.message, "more_info": more, "status": self.status}
