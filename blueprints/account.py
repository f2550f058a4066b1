"""Signing in and out, and what a person sets for themselves. The only place that starts or ends a session."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, g, redirect, render_template, request, session
from flask_login import current_user, login_user, logout_user
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as AnyResponse

from blueprints import guards, screens
from errors import AppError, Invalid, RateLimited
from lib import rate_limit
from models import db
from services import team

door = Blueprint("account", __name__)  # anybody
me = Blueprint("me", __name__)  # who is signed in

# Attempts in a quarter of an hour: for one account from one address, for one account, from one address.
ATTEMPTS = (("pair", 10), ("account", 60), ("address", 120))
PERIOD = 900.0
HOME = "/inbox/mine"


@door.get("/")
def home() -> AnyResponse:
    return redirect(HOME)


@door.get("/login")
def login() -> AnyResponse | str:
    if current_user.is_authenticated and not screens.is_fragment():
        return redirect(own_path(request.args.get("next")))
    return _form()


@door.post("/login")
def sign_in() -> AnyResponse | tuple[str, int]:
    """Start a session; a wrong address, a wrong password and a deactivated account get the same answer."""
    guards.csrf.protect()
    email, password = request.form.get("email", "").strip(), request.form.get("password", "")
    try:
        _count(email)
        user = team.authenticate(email, password)
        if user is None:
            raise Invalid("Email and password do not match an active account. Check both and try again.")
    except AppError as problem:
        db.session.rollback()
        return _form(email=email, problem=problem), 429 if isinstance(problem, RateLimited) else 422
    db.session.commit()
    session.clear()
    team.begin_session(user)
    login_user(user)
    session.permanent = True
    if screens.is_fragment():  # the dialog over a page whose session was over
        return Response("", 204, {"HX-Trigger": json.dumps({"signed-in": {"csrf": generate_csrf()}})})
    return redirect(own_path(request.form.get("next")), 303)


@me.post("/logout")
def logout() -> AnyResponse:
    """End the session for good: an answer to another tab that is under way may set the same cookie once more."""
    team.end_session(current_user)
    db.session.commit()
    logout_user()
    session.clear()
    return redirect("/login", 303)


@me.get("/me")
def profile() -> str:
    return _profile()


@me.post("/me")
def rename() -> AnyResponse | tuple[str, int]:
    try:
        team.change(g.business, current_user, {"name": request.form.get("name", "")}, by=current_user)
        db.session.commit()
    except AppError as problem:
        db.session.rollback()
        return _profile(problem=problem), problem.status
    return _done("Name changed")


@me.post("/me/password")
def change_password() -> AnyResponse | tuple[str, int]:
    """Change the password; every other session of this person ends."""
    try:
        _count(current_user.email)
        if not team.has_password(current_user, request.form.get("current", "")):
            raise Invalid("This is not your current password.", field="current")
        team.set_password(current_user, request.form.get("password", ""), by=current_user)
        db.session.commit()
    except AppError as problem:
        db.session.rollback()
        return _profile(problem=problem), problem.status
    login_user(current_user._get_current_object())
    return _done("Password changed. You are signed out everywhere else.")


@me.post("/me/preferences")
def prefer() -> AnyResponse:
    """Keep one or more of theme, shortcuts and send_key; switches send `on` or nothing."""
    wishes: dict[str, Any] = {name: request.form[name] for name in ("theme", "send_key") if name in request.form}
    for name in ("shortcuts", "side"):
        if name in request.form:
            wishes[name] = request.form.getlist(name)[-1] == "on"
    team.prefer(current_user, **wishes)
    db.session.commit()
    return Response("", 204) if screens.is_fragment() else _done("Saved")


def own_path(wanted: str | None) -> str:
    """Give a path of ours, whatever was asked for: no other host, no scheme, nothing that a browser reads as one."""
    if not wanted or not wanted.startswith("/") or not wanted.isprintable() or "\\" in wanted:
        return HOME
    parts = urlsplit(wanted)
    if parts.scheme or parts.netloc or wanted.startswith("//") or parts.path.startswith(("/login", "/logout")):
        return HOME
    return wanted


def _count(email: str) -> None:
    """Take one of the attempts that an account and an address have; raise `RateLimited` when there is none left."""
    account = hashlib.sha256(email.lower().encode("utf-8", "replace")).hexdigest()[:24]
    names = {"pair": f"{account}:{request.remote_addr}", "account": account, "address": request.remote_addr}
    for kind, limit in ATTEMPTS:
        name = f"login:{kind}:{names[kind]}"
        verdict = rate_limit.take(current_app.extensions["redis"], name, limit, PERIOD)
        if not verdict.allowed:
            minutes = max(1, round(verdict.retry_after / 60))
            raise RateLimited(
                f"Too many attempts. Wait {minutes} minute{'s' * (minutes > 1)} and try again, "
                "or ask an admin to set a new password for you.",
                headers={"Retry-After": str(verdict.retry_after)},
            )


def _form(email: str = "", problem: AppError | None = None) -> str:
    wanted = request.values.get("next")
    after = own_path(wanted) if wanted else ""
    return screens.page("account/login.html", "account/_login.html", email=email, problem=problem, after=after)


def _profile(problem: AppError | None = None) -> str:
    return render_template("account/profile.html", problem=problem, active="settings")


def _done(text: str) -> AnyResponse:
    session["said"] = text
    return redirect("/me", 303)
