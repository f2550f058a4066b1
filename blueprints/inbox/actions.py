"""What can be done with a conversation: assign, snooze, tag, close, mark unread. Menus, and the changes they make.

Each change answers with the fragments that the live stream sends too: a screen without a stream is right as well.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from flask import Blueprint, Response, g, render_template, request
from flask_login import current_user

from blueprints import fragments, screens, times
from errors import Invalid
from lib.ids import is_uuid
from models import Conversation, db, now
from services import conversation_lists, conversations, team

routes = Blueprint("actions", __name__)


@routes.get("/inbox/c/<int:number>/assign")
def assign_menu(number: int) -> str:
    conversation = conversations.by_number(g.business, number)
    people = sorted(team.active(g.business), key=lambda user: user.id != current_user.id)
    return render_template("inbox/_assign.html", conversation=conversation, people=people)


@routes.post("/inbox/c/<int:number>/assign")
def assign(number: int) -> Response:
    conversation = conversations.by_number(g.business, number)
    before, chosen = conversation.assignee_id, request.form.get("user_id", "")
    user = team.get(g.business, UUID(chosen)) if is_uuid(chosen) else None
    conversations.assign(g.business, conversation, user, by=current_user.name)
    said = f"Assigned to {'you' if user.id == current_user.id else user.name}" if user else "Unassigned"
    return _changed(number, said, f"/inbox/c/{number}/assign", user_id=str(before or ""))


@routes.get("/inbox/c/<int:number>/snooze")
def snooze_menu(number: int) -> str:
    conversation = conversations.by_number(g.business, number)
    return render_template("inbox/_snooze.html", conversation=conversation, times=_snooze_times())


@routes.get("/inbox/c/<int:number>/more")
def more_menu(number: int) -> str:
    return render_template("inbox/_more_menu.html", conversation=conversations.by_number(g.business, number))


@routes.post("/inbox/c/<int:number>/status")
def set_status(number: int) -> Response:
    """Open, close, snooze or set to pending; the toast offers the way back."""
    conversation = conversations.by_number(g.business, number)
    before, until_before = conversation.status, conversation.snoozed_until
    status = request.form.get("status", "")
    until = _time(request.form.get("until", "")) if status == "snoozed" else None
    conversations.set_status(g.business, conversation, status, snoozed_until=until, by=current_user.name)
    words = {"closed": "Closed", "open": "Reopened", "pending": "Set to pending"}
    said = f"Snoozed until {times.soon(until)}" if until else f"{words[status]}: {conversation.customer.name}"
    back = {"status": before} | ({"until": until_before.isoformat()} if until_before else {})
    return _changed(number, said, f"/inbox/c/{number}/status", **back)


@routes.get("/inbox/c/<int:number>/tags")
def tags_menu(number: int) -> str:
    conversation = conversations.by_number(g.business, number)
    known = list(dict.fromkeys([*conversation.tags, *conversation_lists.tags(g.business)]))
    return render_template("inbox/_tags.html", conversation=conversation, known=known)


@routes.post("/inbox/c/<int:number>/tags")
def toggle_tag(number: int) -> Response:
    """Put a tag on, or take it off if it is there."""
    conversation, tag = conversations.by_number(g.business, number), request.form.get("tag", "").strip()
    tags = [name for name in conversation.tags if name != tag]
    conversations.set_tags(g.business, conversation, tags if tag in conversation.tags else [*tags, tag])
    return _changed(number)


@routes.post("/inbox/c/<int:number>/unread")
def unread(number: int) -> Response:
    conversations.mark_unread(g.business, conversations.by_number(g.business, number))
    return _changed(number, "Marked unread")


def _changed(number: int, said: str = "", undo_url: str = "", **undo: str) -> Response:
    """Commit, and answer with the conversation's new state."""
    db.session.commit()
    conversation: Conversation = conversations.by_number(g.business, number)
    html = Response(fragments.conversation(g.business, conversation))
    if not said:
        return html
    return screens.toast(html, said, undo={"url": undo_url, "values": undo} if undo_url else None)


def _snooze_times() -> list[tuple[str, datetime]]:
    """Offer times that make sense now, in the business's zone."""
    here = now().astimezone(g.zone)
    morning = here.replace(hour=9, minute=0, second=0, microsecond=0)
    monday = morning + timedelta(days=7 - here.weekday())
    return [
        ("In an hour", here + timedelta(hours=1)),
        ("In four hours", here + timedelta(hours=4)),
        ("Tomorrow at 9:00", morning + timedelta(days=1)),
        ("Next Monday at 9:00", monday),
        ("In two weeks", morning + timedelta(days=14)),
    ]


def _time(text: str) -> datetime:
    """Read a time; one without a zone is told in the business's."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("Choose a day and a time ahead.", field="until") from None
    return at if at.tzinfo else at.replace(tzinfo=g.zone)
