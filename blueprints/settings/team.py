"""Settings → Team: who works here, in which role, and who does no longer."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, g, render_template, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import screens
from errors import AppError, Forbidden, Invalid
from models import User, db
from services import team

routes = Blueprint("team", __name__, url_prefix="/settings/team")


@routes.get("")
def index() -> str:
    people, _ = team.page(g.business, limit=500)
    return render_template("settings/team.html", people=people, page="team", active="settings")


@routes.get("/new")
def new_person() -> str:
    return _form()


@routes.post("")
def add() -> tuple[str, int] | str:
    """Add a person and show the password that was made up, this once."""
    fields = {name: request.form.get(name, "") for name in ("name", "email", "role")}
    try:
        person, password = team.create(g.business, **fields, by=current_user)
        db.session.commit()
    except AppError as problem:
        db.session.rollback()
        return _form(problem), 422
    return _password(person, password)


@routes.get("/<uuid:user_id>/menu")
def menu(user_id: UUID) -> str:
    return render_template("settings/_person_menu.html", person=team.get(g.business, user_id))


@routes.post("/<uuid:user_id>/role")
def set_role(user_id: UUID) -> Response:
    person = team.get(g.business, user_id)
    team.change(g.business, person, {"role": request.form.get("role", "")}, by=current_user)
    return _done(f"{person.name} is now {'an admin' if person.is_admin else 'an agent'}")


@routes.post("/<uuid:user_id>/password")
def reset_password(user_id: UUID) -> str:
    """Give a person a new password; it ends their sessions."""
    person = _somebody_else(user_id)
    password = team.reset_password(person, by=current_user)
    db.session.commit()
    return _password(person, password)


@routes.post("/<uuid:user_id>/state")
def set_state(user_id: UUID) -> Response:
    person = _somebody_else(user_id)
    if request.form.get("active") == "on":
        team.reactivate(g.business, person, by=current_user)
        return _done(f"{person.name} can sign in again")
    team.deactivate(g.business, person, by=current_user)
    return _done(f"{person.name} is signed out everywhere and cannot sign in")


def _somebody_else(user_id: UUID) -> User:
    if user_id == current_user.id:
        raise Forbidden("Nobody can do this to themselves. Change your own password under Profile.", code="own_account")
    return team.get(g.business, user_id)


def _done(text: str) -> Response:
    db.session.commit()
    session["said"] = text
    return screens.go("/settings/team")


def _form(problem: AppError | None = None) -> str:
    if problem and problem.field is None:
        problem = Invalid(problem.message, field="email")
    return screens.page("settings/person.html", "settings/_person_form.html", problem=problem, part="form")


def _password(person: User, password: str) -> str:
    return screens.page(
        "settings/person.html", "settings/_password.html", person=person, password=password, part="password"
    )
