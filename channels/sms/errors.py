"""What follows from each of Twilio's error codes, and what to tell the agent or the admin.

Codes: https://www.twilio.com/docs/api/errors; 30xxx come by callback, after Twilio had taken the message.
"""

from __future__ import annotations

from channels.verdicts import Verdict, Verdicts

_RETRY = {
    "20429": "Too many calls were made to Twilio; sending goes on later.",
    "20500": "Twilio had an internal error.",
    "20503": "Twilio is temporarily down.",
    "21611": "This number's queue at Twilio is full; sending goes on later.",
    "30001": "This number's queue at Twilio ran over.",
    "30017": "The carrier's network is congested.",
    "30022": "The carrier's limit for this number was reached.",
}
_FEW = {  # with how many tries
    "30410": ("The carrier did not answer Twilio in time.", 2),
    "30003": ("The customer's phone is switched off or out of reach.", 1),
    "30008": ("The carrier did not deliver this and does not say why.", 1),
}
_PERMANENT = {
    "11200": "Twilio could not fetch the file from this product.",
    "12300": "Twilio does not take files of this type.",
    "21211": "This is not a phone number that can receive a text.",
    "21212": "Twilio does not accept this sender.",
    "21266": "This is the number that texts are sent from, so it cannot get one.",
    "21408": "Texts to that country are turned off; an admin allows them at Twilio under Messaging → Geo permissions.",
    "21602": "Twilio takes no message without text or a file.",
    "21608": "This is a trial account, which can write only to numbers that were verified at Twilio.",
    "21609": "Twilio cannot reach this product's public address, so it takes no message.",
    "21610": "This customer has opted out of your texts with STOP; they can write START to hear from you again.",
    "21612": "Twilio has no way from this sender to that number.",
    "21614": "This number cannot receive texts; it may be a landline.",
    "21617": "The text is longer than 1600 characters.",
    "21619": "Twilio takes no message without text or a file.",
    "21620": "Twilio could not fetch the file from this product.",
    "21623": "Twilio takes no more than 10 files in one message.",
    "21635": "This number cannot receive pictures and files; it may be a landline.",
    "30004": "The customer or their carrier blocks texts from you.",
    "30005": "This number does not exist any more, or is switched off for good.",
    "30006": "This number is a landline or lies with a carrier that takes no texts.",
    "30007": "The carrier filtered this message out as unwanted.",
    "30019": "The file is too large for the carrier.",
    "30036": "The message was not delivered before it ran out of time.",
    "canceled": "The message was cancelled at Twilio.",
    "failed": "Twilio could not send this and does not say why.",
    "undelivered": "The carrier did not deliver this and does not say why.",
}
_ACCOUNT = {
    "20003": "Twilio does not accept the account SID with this auth token or API key; enter them anew.",
    "20005": "This Twilio account is not active; see to it at Twilio.",
    "21606": "This number does not belong to the Twilio account, or cannot send texts.",
    "21659": "This number is not one of the Twilio account.",
    "21660": "This number belongs to another Twilio account.",
    "21701": "Twilio has no such Messaging Service; enter its SID anew.",
    "21703": "The Messaging Service has no sender; add one at Twilio.",
    "30002": "This Twilio account was suspended.",
    "30018": "The carrier wants this sender registered; see to it at Twilio.",
    "30023": "The daily limit of this sender's brand is reached; see to it at Twilio.",
    "30032": "This toll-free number is not verified; see to it at Twilio.",
    "30034": "This number is not registered for texts in the USA (A2P 10DLC); see to it at Twilio.",
}

VERDICTS = Verdicts(
    "Twilio",
    {code: Verdict("retry", text) for code, text in _RETRY.items()}
    | {code: Verdict("retry", text, tries=tries) for code, (text, tries) in _FEW.items()}
    | {code: Verdict("permanent", text) for code, text in _PERMANENT.items()}
    | {code: Verdict("account", text) for code, text in _ACCOUNT.items()},
    growing=frozenset({"20429"}),
)
