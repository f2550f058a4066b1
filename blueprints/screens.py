"""What all pages for people share: addresses of static files, the main navigation, page or fragment, and toasts.

`app.py` calls `init_app`; the blueprints of the inbox, the account and the settings call the rest.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request, session
from flask_login import current_user
from werkzeug.wrappers import Response as AnyResponse

from blueprints import filters, hints
from services import channel_accounts, conversation_lists

STATIC = Path(__file__).parent.parent / "static"
VIEWS = (
    ("mine", "inbox", "My inbox"),
    ("unassigned", "user-question", "Unassigned"),
    ("all", "stack-2", "All open"),
    ("snoozed", "clock-pause", "Snoozed"),
    ("closed", "circle-check", "Closed"),
)
# The pages of the settings for admins: by group, each with its key, address, icon and name.
SETTINGS = (
    (
        "Business",
        (
            ("business", "/settings/business", "building-store", "Business Settings"),
            ("crm", "/settings/business/crm-integration", "plug-connected", "CRM Integration"),
            ("channels", "/settings/channels", "messages", "Channels"),
            ("team", "/settings/team", "users", "Team"),
        ),
    ),
    (
        "Developers",
        (
            ("api-access", "/settings/api-access", "key", "API Access"),
            ("webhooks", "/settings/webhooks", "webhook", "Webhooks"),
        ),
    ),
)
SHORTCUTS = (
    ("j / k", "Next, previous conversation"),
    ("⏎", "Open the conversation"),
    ("r", "Reply"),
    ("n", "Private note"),
    ("/", "Search; in the composer: canned replies"),
    ("Ctrl K", "Search and jump"),
    ("e", "Close, and open the next one"),
    ("a", "Assign"),
    ("h", "Snooze"),
    ("l", "Tags"),
    ("u", "Mark unread"),
    ("i", "Customer details"),
    ("g i", "Go to the inbox"),
    ("g s", "Go to the settings"),
    ("⌘ ⏎", "Send"),
    ("?", "This help"),
)
HTMX = {
    "historyCacheSize": 0,
    "defaultSettleDelay": 0,  # what was swapped in works at once
    "historyRestoreAsHxRequest": False,
    "allowEval": False,
    "includeIndicatorStyles": False,
    "selfRequestsOnly": True,
    "scrollIntoViewOnBoost": False,
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "422", "swap": True},
        {"code": "[45]..", "swap": False, "error": True},
    ],
}


def init_app(app: Flask) -> None:
    """Give the templates what they ask for."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        asset=asset,
        navigation=navigation,
        theme=theme,
        said=lambda: session.pop("said", ""),
        shortcuts=SHORTCUTS,
        settings_pages=SETTINGS,
        htmx_config=orjson.dumps(HTMX).decode(),
    )
    filters.register(app)
    hints.register(app)
    app.context_processor(_who)
    app.after_request(_vary)


def asset(name: str) -> str:
    """Give the address of a static file, which changes with its content: it may be cached for ever.

    An embed has its icons within the page: a sandboxed one may not draw from another file.
    """
    if name == "icons.svg" and g.get("embedded"):
        return ""
    return f"/static/{name}?v={_digest(name, (STATIC / name).stat().st_mtime_ns)}"


@cache
def _digest(name: str, _changed: int) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]


def theme() -> str:
    return current_user.preferences.get("theme", "auto") if current_user and current_user.is_authenticated else "auto"


def navigation() -> SimpleNamespace:
    """Gather what the main navigation shows, once in a request."""
    if "navigation" not in g:
        g.navigation = SimpleNamespace(
            views=VIEWS,
            counts=conversation_lists.counts(g.business, current_user.id),
            accounts=channel_accounts.page(g.business),
        )
    return g.navigation


def is_fragment() -> bool:
    """Say whether only a part of the page is asked for; going back in the history asks for all of it."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def target() -> str:
    return request.headers.get("HX-Target", "")


def toast(response: Response | str, text: str, *, undo: dict[str, Any] | None = None, bad: bool = False) -> Response:
    """Let the screen say in passing what was done, and offer to take it back (`undo`: url and values)."""
    shown = {"text": text} | ({"undo": undo} if undo else {}) | ({"bad": True} if bad else {})
    answer = make_response(response)
    answer.headers["HX-Trigger"] = json.dumps({"toast": shown})  # headers are ASCII, so not orjson
    return answer


def go(url: str) -> AnyResponse:
    """Send the person to another page, from a form or from a fragment."""
    if is_fragment():
        return Response("", 204, {"HX-Redirect": url})
    return redirect(url, 303)


def page(template: str, fragment: str, **values: Any) -> str:
    return render_template(fragment if is_fragment() else template, **values)


def _who() -> dict[str, Any]:
    known = current_user if current_user and current_user.is_authenticated else None
    return {"user": known, "business": g.get("business"), "settings": current_app.extensions["settings"]}


def _vary(response: Response) -> Response:
    if response.mimetype == "text/html":
        response.vary.add("HX-Request")
    return response
