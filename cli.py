"""Operators' commands: `flask business create`, `api-key create`, `demo`, `sandbox say`, `listen`; `--json` on each."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import orjson
from flask import Flask, current_app
from flask.cli import AppGroup

import demo
import jobs
import listen
from demo import phones
from errors import AppError
from models import Business, ChannelAccount, db, now
from services import businesses, channel_accounts, keys, team

as_json = click.option("--json", "json", is_flag=True, help="Print one JSON object.")


def register(app: Flask) -> None:
    for command in (business, api_key, fill_demo, sandbox, listen_here):
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
    shown = {"business_id": str(made.business.id), "email": made.email, "password": made.password}
    shown |= {"api_key": made.api_key}
    if url := current_app.extensions["settings"].sandbox_url:
        try:
            for account in made.accounts.values():
                _connect(url, account)
                phones.introduce(url, account, demo.in_touch(made, account))
        except phones.SandboxError as exc:  # the business is there all the same
            click.echo(f"Not connected to the provider sandbox: {exc.message}", err=True)
    _print(shown, json)


@click.command("listen")
@click.option("--forward-to", "url", required=True, help="Where your receiver listens: http://localhost:3000/hook")
@click.option("--business", "business_id", default="", help="Its id, or its name; the first one when left out.")
@click.option("--secret", default="", help="Sign with this; made up when left out.")
@click.option("--events", default="", help="Only these types, with commas between.")
@click.option("--json", "json", is_flag=True, help="Print one JSON object a line.")
def listen_here(url: str, business_id: str, secret: str, events: str, json: bool) -> None:
    """Forward a business's webhooks to this machine, until Ctrl-C, with no tunnel."""
    with _refusals():
        made = _business(business_id) if business_id else businesses.first()
        key, text = keys.create(made, "flask listen", ["messages:read"], expires_at=now() + timedelta(days=1))
        db.session.commit()
    source = listen.Source(f"http://127.0.0.1:{current_app.extensions['settings'].port}/functions/v1", text, events)
    try:
        listen.run(source, url, secret=secret, as_json=json, say=click.echo)
    except KeyboardInterrupt:
        click.echo(err=True)
    finally:
        keys.revoke(made, key)
        db.session.commit()


@sandbox.command("say")
@click.argument("channel")
@click.option("--from", "sender", required=True, help="The customer's number or address.")
@click.option("--text", default="")
@click.option("--name", default="", help="The customer's name at the provider.")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to", default="", help="The account, by its id here or at the provider; the newest when left out.")
@click.option("--business", "business_id", default="", help="Whose account, by id or name.")
@as_json
def say(
    channel: str, sender: str, text: str, name: str, path: Path | None, to: str, business_id: str, json: bool
) -> None:
    """Write as a customer: the provider's real, signed call to our own address."""
    url = current_app.extensions["settings"].sandbox_url
    if not url:
        raise click.ClickException("No sandbox runs here. `make run` starts one; or set SANDBOX_URL.")
    if not text and not path:
        raise click.ClickException("Say something: --text, --file or both.")
    with _refusals():
        account = channel_accounts.newest(channel, _business(business_id) if business_id else None, named=to)
        _connect(url, account)
        answer = phones.say(url, account, sender=sender, name=name, text=text, file=path)
    shown = {"account": account.account_key, "callback_url": channel_accounts.callback_url(account)}
    _print(answer if json else shown | {"message_id": answer["message"]["id"]}, json)


def _connect(url: str, account: ChannelAccount) -> None:
    """Declare an account at the sandbox; reading its templates then tells the product that it works."""
    db.session.commit()  # no transaction is open while we wait
    if phones.connect(url, account):
        jobs.run_later("greet_account", account.business_id, account.id)
        db.session.commit()


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
        if isinstance(exc, AppError | phones.SandboxError):
            db.session.rollback()
            raise click.ClickException(exc.message) from None


def _print(shown: dict[str, Any], json: bool) -> None:
    if json:
        click.echo(orjson.dumps(shown).decode())
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")
