"""Notices: what an admin should know, on every screen until it is dismissed, each with the way to its remedy."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, current_app, g, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import screens
from models import Notice, db
from services import notices

routes = Blueprint("notices", __name__, url_prefix="/settings/notices")

_PAGES = {"webhook": "/settings/webhooks", "channel": "/settings/channels"}


@routes.app_context_processor
def _offer() -> dict[str, Any]:
    """Let the layout ask; only an admin's page has an answer, and only then is the database asked."""
    return {"unread_notices": unread, "notice_link": link}


def unread() -> list[Notice]:
    known = current_user and current_user.is_authenticated and current_user.is_admin
    return list(notices.unread(g.business)) if known and g.get("business") else []


def link(notice: Notice) -> str:
    """Give the page where a notice's cause can be mended."""
    page = _PAGES.get(notice.kind, "/settings/api-access")
    alone = f"{page}/{notice.subject_id}"
    return alone if notice.subject_id and _exists(alone) else page if _exists(page) else "/settings/business"


@routes.post("/<uuid:notice_id>/dismiss")
def dismiss(notice_id: UUID) -> Response | str:
    notices.dismiss(g.business, notice_id, current_user)
    db.session.commit()
    if screens.is_fragment():
        return render_template("_notices.html")
    back = request.form.get("back", "")
    return screens.go(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/inbox/mine")


def _exists(path: str) -> bool:
    return current_app.url_map.bind("").test(path, method="GET")
