"""What follows from each error code of Messenger and Instagram, and what to tell the agent or the admin.

Codes: https://developers.facebook.com/documentation/business-messaging/messenger-platform/error-codes
"""

from __future__ import annotations

from channels import meta
from channels.verdicts import Verdict, Verdicts

_RETRY = {
    "1": "{name} had an unknown error.",
    "2": "{name} is temporarily down.",
    "4": "The app made too many calls; sending goes on later.",
    "17": "Too many calls were made for this account; sending goes on later.",
    "32": "Too many calls were made for this page; sending goes on later.",
    "613": "Too many messages were sent at once; sending goes on later.",
    "80002": "This Instagram account made too many calls; sending goes on later.",
    "80006": "This page sent too many messages; sending goes on later.",
    "100/2018294": "{name} took too long over this video.",
}
_WINDOW = {
    "10/2018065": "{name} takes an answer only for a while after the customer's last message; that time is over.",
    "10/2018278": "The customer has not written for 24 hours, so {name} takes no answer until they do.",
    "10/2534022": "The customer has not written for 24 hours, so {name} takes no answer until they do.",
}
_UNAVAILABLE = "This customer cannot be reached: they blocked you, left {name}, or have not written for 24 hours."
_PERMANENT = {
    "100": "{name} does not accept this{said}.",
    "100/2018001": "{name} does not know this customer any more.",
    "100/2018047": "{name} does not accept this type of file.",
    "100/2018109": "This file is too large for {name}.",
    "100/2534014": "{name} does not know this customer any more.",
    "100/2534015": "{name} does not accept what is in this message{said}.",
    "10/2018108": "This customer does not receive messages from you at the moment.",
    "551": "This customer cannot be reached at the moment: they blocked you, or left {name}.",
    "200/1545041": _UNAVAILABLE,
    "1545041": _UNAVAILABLE,
    "2018218": "{name} does not tell this customer's name.",
    "2018247": "{name} does not tell this customer's name.",
} | dict.fromkeys(
    ("2018300", "10/2018300", "100/2018300", "100/2534037"),
    "Another app handles this conversation on {name}; it can be answered there alone.",
)
_ACCOUNT = {
    "10": "The app lacks a permission that {name} asks for{said}.",
    "10/1893063": "{name} does not let this account send messages at the moment{said}.",
    "10/2534077": "{name} does not let this account send messages at the moment{said}.",
    "33": "{name} does not know this account any more.",
    "100/33": "{name} does not know this account, or the access token may not use it.",
    "100/2534013": "This Instagram account is not linked to the page, or is no professional account.",
    "100/2534029": "The app may not send messages for this account{said}.",
    "190": "The access token has expired or was revoked; enter a new one.",
    "190/460": "The access token ended because a password was changed; enter a new one.",
    "190/463": "The access token has expired; enter a new one.",
    "200": "The access token lacks a permission{said}.",
    "200/2534041": "In the Instagram app, turn on Settings → Messages → Connected tools → Allow access to messages.",
    "368": "{name} has blocked this account for a while because it broke a policy.",
    "2022": "{name} has restricted this account's messages{said}.",
}
_ONCE_MORE = {"100/2018008": "{name} could not fetch the file."}
_MAY_HAVE_GONE = {"1/1357046": "{name} answered with an error, but the message may have gone."}


def verdicts(name: str) -> Verdicts:
    """Make the table of one of the two; `name` is what people call it."""

    def said(text: str) -> str:
        return text.replace("{name}", name)

    return Verdicts(
        name,
        meta.VERDICTS
        | {code: Verdict("retry", said(text), tries=2 if code == "1" else 0) for code, text in _RETRY.items()}
        | {code: Verdict("retry", said(text), tries=1) for code, text in _ONCE_MORE.items()}
        | {code: Verdict("retry", said(text), unknown=True) for code, text in _MAY_HAVE_GONE.items()}
        | {code: Verdict("window", said(text)) for code, text in _WINDOW.items()}
        | {code: Verdict("permanent", said(text)) for code, text in _PERMANENT.items()}
        | {code: Verdict("account", said(text)) for code, text in _ACCOUNT.items()},
    )
