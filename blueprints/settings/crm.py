"""Settings → Business Settings: the business itself, and CRM Integration, the guide's one-webhook form."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from flask import Blueprint, g, render_template, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from blueprints import screens
from blueprints.settings import verdicts, webhook_forms
from errors import AppError, Invalid
from lib import signing
from models import WebhookEndpoint, db
from services import audit, businesses, crm, webhooks

routes = Blueprint("business", __name__, url_prefix="/settings/business")

CRMS = ("Salesforce", "HubSpot", "Microsoft Dynamics 365", "Zoho CRM", "Pipedrive", "Freshsales", "SugarCRM", "Odoo")
ORIGINS = {
    "Salesforce": ("https://*.lightning.force.com", "https://*.my.salesforce.com"),
    "HubSpot": ("https://app.hubspot.com",),
}
OFF = "Real-time Message Forwarding is switched off."


@routes.get("")
def general() -> str:
    return _general()


@routes.post("")
def save_general() -> Response | tuple[str, int]:
    fields = {name: request.form.get(name, "") for name in ("name", "default_region", "timezone")}
    try:
        businesses.change(g.business, _clean(fields), by=current_user)
    except AppError as problem:
        db.session.rollback()
        return _general(problem), 422
    return _saved("/settings/business")


@routes.get("/crm-integration")
def integration() -> str:
    return _integration()


@routes.post("/crm-integration")
def save_integration() -> Response | tuple[str, int]:
    """Save the whole form or none of it."""
    fields = _clean({name: request.form.get(name, "") for name in ("crm_name", "crm_record_url")})
    origins = _clean({"embed_origins": request.form.get("embed_origins", "")})["embed_origins"].split()
    try:
        businesses.change(g.business, fields | {"embed_origins": origins}, by=current_user)
        _save_webhook(webhooks.of_crm(g.business))
    except AppError as problem:
        db.session.rollback()
        return _integration(problem), 422
    return _saved("/settings/business/crm-integration")


def _save_webhook(endpoint: WebhookEndpoint | None) -> None:
    wanted = "enabled" in request.form
    if endpoint is None and not wanted and not request.form.get("url", "").strip():
        return
    call, made = webhook_forms.read_call(endpoint), endpoint is None
    if endpoint is None:
        called = {"name": "CRM Integration", "events": ["message.received"], "is_crm": True}
        endpoint, _ = webhooks.create(g.business, by=current_user.id, **called, **call)
    before = (endpoint.url, endpoint.state)
    if call["url"] != endpoint.url:
        webhooks.change(endpoint, url=call["url"])
    if not wanted and endpoint.state != "disabled":
        webhooks.disable(endpoint, OFF, tell=False)
    elif wanted and endpoint.state == "disabled":
        webhooks.resume(endpoint)
    webhooks.adopt_tests(endpoint, current_user.id)
    if made or before != (endpoint.url, endpoint.state):
        action = "webhook.created" if made else "webhook.changed"
        audit.note(g.business.id, action, current_user, endpoint.id, url=endpoint.url, state=endpoint.state)


def _integration(problem: AppError | None = None) -> str:
    endpoint, form = webhooks.of_crm(g.business), request.form
    stored = {
        "url": endpoint.url if endpoint else "",
        "secret": "" if endpoint else signing.new_webhook_secret(),
        "crm_name": g.business.crm_name,
        "crm_record_url": g.business.crm_record_url,
        "embed_origins": "\n".join(g.business.embed_origins),
    }
    enabled = endpoint is None or endpoint.state != "disabled"
    typed = {name: form.get(name, value) for name, value in stored.items()} if problem else stored
    return render_template(
        "settings/crm/crm.html",
        endpoint=endpoint,
        values=typed,
        stored=stored,
        enabled="enabled" in form if problem else enabled,
        progress=crm.progress(g.business, endpoint),
        rotating=endpoint is not None and webhooks.is_rotating(endpoint),
        state=verdicts.state(endpoint) if endpoint else None,
        crms=CRMS,
        origins=ORIGINS,
        problem=problem and _shown(problem),
        page="crm",
        active="settings",
    )


def _general(problem: AppError | None = None) -> str:
    names = ("name", "default_region", "timezone")
    values = {name: request.form.get(name, getattr(g.business, name)) for name in names}
    return render_template(
        "settings/crm/business.html",
        values=values,
        countries=_countries(),
        timezones=businesses.timezones(),
        problem=problem,
        page="business",
        active="settings",
    )


def _shown(problem: AppError) -> AppError:
    shown = webhook_forms.problem_of(problem)
    return Invalid(shown.message, field=problem.field or "url")


def _saved(url: str) -> Response:
    db.session.commit()
    session["said"] = "Saved"
    return screens.go(url)


def _clean(fields: dict[str, str]) -> dict[str, Any]:
    return {name: value.replace("\x00", "") for name, value in fields.items()}


@cache
def _countries() -> list[tuple[str, str]]:
    """Name the countries whose numbers we can read, as the time zone database names them."""
    table = files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text("utf-8")
    names = dict(line.split("\t", 1) for line in table.splitlines() if line and not line.startswith("#"))
    return sorted(((names.get(code, code), code) for code in businesses.regions()), key=lambda pair: pair[0])
