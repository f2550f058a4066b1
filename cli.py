"""Operators' commands: `flask business create`, `api-key create`, `demo`, `sandbox say`, `listen`; `--json` on each."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

import click
import orjson
from flask import Flask, current_app
from flask.cli import AppGroup

from errors import AppError
from models import Business, db
from services import businesses, demo, keys, team

as_json = click.option("--json", "json", is_flag=True, help="Print one JSON object.")


def register(app: Flask) -> None:
    for command in (business, api_key, fill_demo, sandbox):
        app.cli.add_command(command)


business = AppGroup("business", help="Businesses (tenants).")
api_key = AppGroup("api-key", help="API keys.")
sandbox = AppGroup("sandbox", help="The provider sandbox of this machine.")


@business.command("create")
@click.argument("name")
@click.option("--admin-email", required=True)
@click.option("--admin-password", help="Made up when left out.")
@click.option("--region", default="IE", show_default=True, help="Where phone numbers without a country code belong.")
@as_json
def create_business(name: str, admin_email: str, admin_password: str | None, region: str, json: bool) -> None:
    """Make a business with its first admin and an API key for everything."""
    with _refusals():
        made = businesses.create(name, region=region.upper())
        chosen = admin_password or secrets.token_urlsafe(12)
        admin, _ = team.create(made, name="Admin", email=admin_email, role="admin", password=chosen)
        _, key = keys.create(made, "First key", ["admin"], by=admin)
        db.session.commit()
    _print({"business_id": str(made.id), "email": admin.email, "password": chosen, "api_key": key}, json)


@api_key.command("create")
@click.option("--business", "business_id", required=True, help="Its id, or its name.")
@click.option("--name", default="Made on the command line", show_default=True)
@click.option("--scope", "scopes", multiple=True, default=["admin"], show_default=True)
@as_json
def create_key(business_id: str, name: str, scopes: tuple[str, ...], json: bool) -> None:
    """Make an API key; it is shown now and never again."""
    with _refusals():
        key, text = keys.create(_business(business_id), name, list(scopes))
        db.session.commit()
    _print({"id": str(key.id), "api_key": text, "scopes": list(scopes)}, json)


@click.command("demo")
@as_json
def fill_demo(json: bool) -> None:
    """Fill a business with believable conversations, connected to the provider sandbox where one runs."""
    with _refusals():
        made = demo.fill()
        db.session.commit()
    demo.connect_sandbox(made)
    shown = {"business_id": str(made.business_id), "email": made.email, "password": made.password}
    _print(shown | {"api_key": made.api_key}, json)


@sandbox.command("say")
@click.argument("channel")
@click.option("--from", "sender", required=True, help="The customer's number or address.")
@click.option("--text", default="")
@click.option("--name", default="")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False))
@click.option("--to", "account", default="", help="The account's id at the provider; the first one when left out.")
@as_json
def say(channel: str, sender: str, text: str, name: str, path: str | None, account: str, json: bool) -> None:
    """Write as a customer: the provider's real, signed call to our own address."""
    url = current_app.extensions["settings"].sandbox_url
    if not url:
        raise click.ClickException("No sandbox runs here. `make run` starts one; or set SANDBOX_URL.")
    _print(demo.say(url, channel, sender, text=text, name=name, path=path, account=account), json)


def _business(text: str) -> Business:
    found = businesses.find(text)
    if found is None:
        try:
            found = db.session.get(Business, UUID(text))
        except ValueError:
            found = None
    if found is None:
        raise click.ClickException(f"There is no business '{text}'.")
    return found


class _refusals:
    """Turn what the product refuses into one line on the terminal."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, exc: BaseException | None, trace: Any) -> None:
        if isinstance(exc, AppError):
            db.session.rollback()
            raise click.ClickException(exc.message) from None


def _print(shown: dict[str, Any], json: bool) -> None:
    if json:
        click.echo(orjson.dumps(shown).decode())
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")
