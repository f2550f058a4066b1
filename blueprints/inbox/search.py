"""The palette: everything that can be done or jumped to, found as one types. `/search`."""

from __future__ import annotations

from flask import Blueprint, g, render_template, request
from flask_login import current_user

from blueprints import screens
from services import search

routes = Blueprint("search", __name__)

# What can be done with the open conversation: icon, name, key, and the button that does it.
ACTIONS = (
    ("pencil", "Reply", "r", "[data-mode=reply]"),
    ("lock", "Private note", "n", "[data-mode=note]"),
    ("user-check", "Assign", "a", "#do-assign"),
    ("clock-pause", "Snooze", "h", "#do-snooze"),
    ("tag", "Tags", "l", "#do-tags"),
    ("circle-check", "Close or reopen", "e", "#do-close"),
    ("layout-sidebar-right", "Customer details", "i", "#do-side"),
    ("keyboard", "Keyboard shortcuts", "?", "[data-act=keys]"),
    ("moon", "Switch theme", "", "[data-act=theme]"),
)
PLACES = tuple((symbol, name, f"/inbox/{view}") for view, symbol, name in screens.VIEWS)
SETTINGS = tuple((symbol, name, href) for _, pages in screens.SETTINGS for _, href, symbol, name in pages)
PROFILE = (("user-circle", "Profile", "/me"),)


@routes.get("/search")
def results() -> str:
    """Give the palette's results; without a query the conversations of late and what can be done here."""
    q = request.args.get("q", "").strip()[:200]
    words = q.lower().split()
    places = PLACES + (SETTINGS if current_user.is_admin else ()) + PROFILE
    return render_template(
        "inbox/_results.html",
        q=q,
        found=search.everything(g.business, q),
        actions=[action for action in ACTIONS if _fits(action[1], words)],
        places=[place for place in places if words and _fits(f"go to {place[1]}", words)],
    )


def _fits(name: str, words: list[str]) -> bool:
    return all(word in name.lower() for word in words)
