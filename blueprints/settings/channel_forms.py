"""A channel account's form: made from the channel's own fields, read back, and what is wrong said at its field.

Also the words that the pages of Channels share. Called by those pages alone.
"""

from __future__ import annotations

from typing import Any

from flask import current_app, request

from errors import AppError, Invalid
from lib.ids import uuid7
from models import ChannelAccount
from services import channel_accounts

STATES = {"connected": ("Connected", "ok"), "attention": ("Needs attention", "bad"), "paused": ("Paused", "warn")}
CHOICES = {
    "instagram": "Instagram Login",
    "facebook": "Facebook Login",
    "google": "Google",
    "microsoft": "Microsoft",
    "tls": "TLS",
    "starttls": "STARTTLS",
}
# kind → who calls us, and where an admin pastes what we show
PROVIDERS = {
    "whatsapp": (
        "Meta",
        "At developers.facebook.com, open your app: WhatsApp → Configuration → Webhook → Edit. Paste both, press "
        "“Verify and save”, then subscribe to the fields “messages” and “message_template_status_update”.",
    ),
    "facebook": (
        "Meta",
        "At developers.facebook.com, open your app: Messenger → Messenger API settings → Configure webhooks. Paste "
        "both and press “Verify and save”. We subscribe your page ourselves.",
    ),
    "instagram": (
        "Meta",
        "At developers.facebook.com, open your app: Instagram → API setup → Configure webhooks. Paste both and press "
        "“Verify and save”. We subscribe your account ourselves.",
    ),
    "sms": (
        "Twilio",
        "In Twilio’s console, open your number, or your Messaging Service under Integration. Where a message comes "
        "in, choose Webhook and POST, and paste the address.",
    ),
}
_LETTERS = ("_id", "_token", "_secret")


def provider(kind: str) -> tuple[str, str]:
    return PROVIDERS.get(kind, ("your provider", "Paste the address where your provider asks for a webhook."))


def input_name(field: Any) -> str:
    """Name a field as the service's errors do."""
    return f"config.{field.name}"


def read(kind: str, account: ChannelAccount | None) -> dict[str, str]:
    """Read the channel's fields; a secret that is left empty is left out, so that it stays as it is."""
    cleared, found = request.form.getlist("clear"), {}
    for field in channel_accounts.channel(kind).fields:
        typed = request.form.get(input_name(field), "").replace("\x00", "").strip()
        if typed or not (field.secret and account) or field.name in cleared:
            found[field.name] = typed
    return found


def values(kind: str, account: ChannelAccount | None) -> dict[str, str]:
    """Give what the form shows: what was just typed, else what is stored, else how an account begins; no secret."""
    fields = channel_accounts.channel(kind).fields
    if request.method == "POST":
        return {field.name: request.form.get(input_name(field), "") for field in fields if not field.secret}
    if account:
        return {field.name: str(account.config.get(field.name, "")) for field in fields if not field.secret}
    begun = {field.name: field.default for field in fields}
    return begun | (_made_up(fields) if "sandbox" in request.args and has_sandbox() else {})


def has_sandbox() -> bool:
    settings = current_app.extensions["settings"]
    return settings.env == "development" and bool(settings.sandbox_url)


def problem_of(problem: AppError, kind: str) -> AppError:
    """Give an error as it reads beside its field: without the field's name in front, and always with a field."""
    name = (problem.field or "").removeprefix("config.")
    known = {field.name for field in channel_accounts.channel(kind).fields}
    text = problem.message.removeprefix(f"{name}: ")
    text = text[:1].upper() + text[1:]
    shown = Invalid(text if text.endswith((".", "…")) else f"{text}.", code=problem.code)
    shown.field = f"config.{name}" if name in known else "name" if name == "name" else None
    return shown


def _made_up(fields: Any) -> dict[str, str]:
    """Make values that the sandbox of this machine takes: it learns them when a customer first writes there."""
    number = uuid7().int % 10**9
    known = {"phone_number": f"+3531{number % 10**7:07d}", "username": f"shop{number}", "page_name": "My page"}
    made: dict[str, str] = {}
    for place, field in enumerate(fields):
        if field.name in known:
            made[field.name] = known[field.name]
        elif field.required and not field.choices and field.name.endswith(_LETTERS):
            made[field.name] = f"sandbox-{number}" if field.secret else f"{10 + place}{number:09d}"
    if "instagram_app_secret" in {field.name for field in fields}:
        made["instagram_app_secret"] = f"sandbox-{number}"
    return made
