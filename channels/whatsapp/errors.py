"""What follows from each of WhatsApp's error codes, and what to tell the agent or the admin.

Codes: https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
"""

from __future__ import annotations

from channels import meta
from channels.verdicts import Verdict, Verdicts

_RETRY = {
    "1": "WhatsApp had an unknown error.",
    "2": "WhatsApp is temporarily down.",
    "4": "Too many calls were made to WhatsApp; sending goes on later.",
    "80007": "This WhatsApp Business account made too many calls; sending goes on later.",
    "130429": "This number sent too many messages at once; sending goes on later.",
    "131000": "WhatsApp had an unknown error.",
    "131016": "WhatsApp is temporarily overloaded.",
    "131056": "Too many messages went to this customer in a short time; sending goes on later.",
    "131057": "WhatsApp is doing maintenance on this account.",
}
_WINDOW = {
    "131047": "The customer has not written for 24 hours, so WhatsApp takes only an approved template.",
}
_PERMANENT = {
    "100": "WhatsApp does not accept this{said}.",
    "130403": "You blocked this customer on WhatsApp; unblock them to write.",
    "130472": "WhatsApp does not deliver marketing to this customer, who is part of an experiment.",
    "131008": "Something that WhatsApp requires is missing{said}.",
    "131009": "WhatsApp does not accept a value in this message{said}.",
    "131021": "This is your own number; WhatsApp does not let a number write to itself.",
    "131026": "WhatsApp cannot deliver to this customer: no WhatsApp on that number, or a version that is too old.",
    "131030": "This number is in test mode and the customer's is not on its list of test recipients.",
    "131049": "WhatsApp held this marketing message back; do not send it again within 24 hours.",
    "131050": "This customer has stopped marketing messages from you.",
    "131051": "WhatsApp does not support this type of message.",
    "131052": "WhatsApp could not fetch this file.",
    "131053": "WhatsApp could not take this file{said}.",
    "131060": "WhatsApp says that this message is currently unavailable.",
    "131062": "This template needs the customer's phone number, which WhatsApp does not share with you.",
    "131063": "Marketing templates are turned off for this account in WhatsApp Manager.",
    "132000": "The number of values does not fit the template{said}.",
    "132001": "This template does not exist in this language, or is not approved yet.",
    "132005": "With these values, the template is too long.",
    "132007": "The template breaks one of WhatsApp's content rules.",
    "132008": "A value of the template is not allowed{said}.",
    "132012": "A value of the template has the wrong format{said}.",
    "132015": "This template is paused because customers disliked it.",
    "132016": "This template was paused too often and is disabled.",
    "132018": "WhatsApp does not accept the values of this template{said}.",
    "132068": "The form in this message is blocked.",
    "132069": "The form in this message was sent too often.",
    "135000": "WhatsApp does not accept something in this message and does not say what.",
}
_ACCOUNT = {
    "0": "WhatsApp does not accept the access token; enter a new one.",
    "3": "The app is not allowed to make this call; check its permissions at Meta.",
    "10": "The access token lacks a permission; it needs whatsapp_business_messaging and whatsapp_business_management.",
    "33": "WhatsApp does not know this phone number ID any more.",
    "100/33": "WhatsApp does not know this phone number or account ID, or the access token may not use it.",
    "190": "The access token has expired or was revoked; enter a new one.",
    "368": "WhatsApp has blocked this account for a while because it broke a policy.",
    "130497": "WhatsApp does not let this account write to customers in that country.",
    "131005": "The access token may not use this number; check its permissions at Meta.",
    "131031": "WhatsApp has locked this account.",
    "131037": "The display name of this number is not approved yet.",
    "131042": "WhatsApp could not charge for the message; check the payment method at Meta.",
    "131045": "This number is not registered properly at WhatsApp.",
    "131048": "WhatsApp limits this number because too many of its messages were blocked or reported.",
    "131064": "This account has reached its sending limit because its templates were wrongly classified.",
    "133010": "This number is not registered at WhatsApp; register it first.",
}
_PERMISSION = "The access token lacks a permission{said}."

VERDICTS = Verdicts(
    "WhatsApp",
    meta.VERDICTS
    | {code: Verdict("retry", text, tries=2 if code == "1" else 0) for code, text in _RETRY.items()}
    | {code: Verdict("window", text) for code, text in _WINDOW.items()}
    | {str(code): Verdict("account", _PERMISSION) for code in range(200, 300)}
    | {code: Verdict("permanent", text) for code, text in _PERMANENT.items()}
    | {code: Verdict("account", text) for code, text in _ACCOUNT.items()},
    growing=frozenset({"131056"}),
)
