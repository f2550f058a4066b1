"""The list of conversations: its views, its pages, its filters. `/inbox/<view>`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

from flask import Blueprint, g, redirect, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import fragments, screens
from errors import NotFound
from lib.ids import is_uuid
from models import Conversation
from services import channel_accounts, conversation_lists, events

routes = Blueprint("lists", __name__)

NAMES = {view: name for view, _, name in screens.VIEWS} | {"everything": "All conversations"}
PAGE = 50


@routes.get("/inbox")
def start() -> Response:
    return redirect("/inbox/mine")


@routes.get("/inbox/<view>")
def index(view: str) -> str:
    """Show a list without a conversation open; a search asks for its rows alone."""
    values = page_values() | list_values(view)
    if screens.is_fragment() and screens.target() == "rows":
        return render_template("inbox/_rows.html", **values)
    return screens.page("inbox/inbox.html", "inbox/_panes.html", **values)


@routes.get("/inbox/<view>/rows")
def more(view: str) -> str:
    """Give the next page of a list."""
    return render_template("inbox/_more_rows.html", **list_values(view))


@routes.get("/inbox/<view>/filter")
def filter_menu(view: str) -> str:
    values = head_values(view)
    return render_template("inbox/_filter.html", **values, tags=conversation_lists.tags(g.business))


def head_values(view: str) -> dict[str, Any]:
    """Read which list is meant and how it is filtered."""
    account = _account(view)
    if account is None and view not in NAMES:
        raise NotFound("There is no such list.")
    wanted = {name: request.args.get(name, "").strip()[:200] for name in ("q", "tag", "unread", "sort")}
    query = SimpleNamespace(**wanted)
    oldest_first = (wanted["sort"] or ("oldest" if view == "unassigned" else "newest")) == "oldest"
    return {
        "view": view,
        "active": view,
        "view_name": account.name if account else NAMES[view],
        "base": f"/inbox/{view}",
        "query": {name: value for name, value in vars(query).items() if value},
        "oldest_first": oldest_first,
        "account": account,
    }


def list_values(view: str) -> dict[str, Any]:
    """Gather what the list shows."""
    values = head_values(view)
    query = values["query"]
    rows, next_cursor = conversation_lists.page(
        g.business,
        view=None if view == "everything" else "all" if values["account"] else view,
        user_id=current_user.id,
        account_id=values["account"].id if values["account"] else None,
        tag=query.get("tag"),
        q=query.get("q"),
        unread="unread" in query,
        oldest_first=values["oldest_first"],
        cursor=request.args.get("cursor"),
        limit=PAGE,
    )
    live = not query.keys() & {"q", "tag", "unread"}
    token = f"mine-{current_user.id}" if view == "mine" else view
    return values | {"rows": rows, "next_cursor": next_cursor, "list_tokens": token if live else ""}


def page_values(conversation: Conversation | None = None) -> dict[str, Any]:
    """Gather what only the whole page needs. Comes first: what happens from this sequence on the stream will tell."""
    if screens.is_fragment():
        return {}
    return {"sequence": events.last_sequence(g.business.id), "tally": fragments.tally(g.business)}


def _account(view: str) -> Any | None:
    account_id = view.removeprefix("channel-")
    return channel_accounts.get(g.business, UUID(account_id)) if view != account_id and is_uuid(account_id) else None
