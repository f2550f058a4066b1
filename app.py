"""`create_app`: settings, extensions, the front-door table of (blueprint, guard), error pages.

Holds no query and no rule.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Flask, Response, g
from flask.json.provider import JSONProvider
from flask_migrate import Migrate
from psycopg.types.json import set_json_loads
from sqlalchemy import create_engine
from werkzeug.middleware.proxy_fix import ProxyFix
from whitenoise import WhiteNoise

import channels
import cli
import config
import jobs
from blueprints import account, api, callbacks, embed, guards, inbox, live, media, operating, problems, screens
from blueprints import settings as settings_pages
from lib import logs, storage
from lib.at_once import Statements
from lib.ids import uuid7
from models import db

ROOT = Path(__file__).parent


# Who may come in where: each blueprint with the guard that runs before every one of its routes.
FRONT_DOOR: tuple[tuple[Blueprint, Callable[[], None]], ...] = (
    (api.blueprint, guards.api_key),
    (api.docs, guards.nobody),
    (callbacks.blueprint, guards.nobody),  # each verifies the provider's signature itself
    (media.blueprint, guards.nobody),
    (operating.blueprint, guards.nobody),
    (embed.page.routes, guards.nobody),
    (embed.visits.routes, guards.embed_session),
    (live.blueprint, guards.agent),
    (account.door, guards.nobody),
    (account.me, guards.agent),
    (inbox.inbox, guards.agent),
    (settings_pages.settings, guards.admin),
)


class OrjsonProvider(JSONProvider):
    """Answers through orjson: several times faster than the standard library, and strict UTF-8."""

    def dumps(self, obj: object, **_: object) -> str:
        return orjson.dumps(obj, option=orjson.OPT_NON_STR_KEYS).decode()

    def loads(self, text: str | bytes, **_: object) -> object:
        return orjson.loads(text)


class App(Flask):
    """Flask without its look at every function of every request for `async`: we have none."""

    json_provider_class = OrjsonProvider

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(settings: config.Settings | None = None) -> Flask:
    """Build the web application; give the settings in tests, else they come from the environment."""
    settings = settings or config.load()
    logs.configure(settings.log_level)
    app = App("app", root_path=str(ROOT))
    app.config.from_mapping(_flask_settings(settings))
    app.extensions["settings"] = settings
    _open_services(app, settings)
    app.before_request(_name_request)
    _open_doors(app)
    problems.register(app)
    cli.register(app)
    app.after_request(_finish)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.wsgi_app = WhiteNoise(  # type: ignore[method-assign]
        app.wsgi_app,
        root=str(ROOT / "static"),
        prefix="static/",
        max_age=31536000 if settings.env == "production" else 0,
        autorefresh=settings.env == "development",
    )
    return app


def _flask_settings(settings: config.Settings) -> dict[str, object]:
    secure = settings.public_url.startswith("https://")
    return {
        "SECRET_KEY": settings.secret_key,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "pool_size": settings.db_pool_size,
            "max_overflow": 0,
            "pool_timeout": 5,
            "pool_pre_ping": True,
            "json_serializer": lambda value: orjson.dumps(value).decode(),
            "json_deserializer": orjson.loads,
            "connect_args": {"options": "-c timezone=UTC", "application_name": "alacarte"},
        },
        "MAX_CONTENT_LENGTH": settings.upload_max_bytes + 64 * 1024,
        "MAX_FORM_PARTS": 50,
        "SESSION_COOKIE_NAME": "alc_session",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SECURE": secure,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": timedelta(days=14),
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_CHECK_DEFAULT": False,
        "TESTING": settings.env == "test",
    }


def _open_doors(app: Flask) -> None:
    guards.init_app(app)
    screens.init_app(app)
    for blueprint, guard in FRONT_DOOR:
        app.register_blueprint(blueprint)
        app.before_request_funcs.setdefault(blueprint.name, []).insert(0, guard)


def _open_services(app: Flask, settings: config.Settings) -> None:
    set_json_loads(orjson.loads)  # of queries written in SQL; the engine's own option serves the others
    db.init_app(app)
    Migrate(app, db, directory=str(ROOT / "migrations"), render_as_batch=False)
    options = app.config["SQLALCHEMY_ENGINE_OPTIONS"] | {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
    app.extensions["read_engine"] = engine = create_engine(settings.database_url, **options | {"pool_pre_ping": False})
    _, connecting = engine.dialect.create_connect_args(engine.url)
    app.extensions["at_once"] = Statements(connecting | options["connect_args"], settings.db_pool_size)
    app.extensions["storage"] = storage.open(settings.storage_url)
    jobs.init_app(app, settings.redis_url)
    channels.configure(settings)


def _name_request() -> None:
    g.request_id = str(uuid7())


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = g.get("request_id", "")
    headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype != "application/json":
        headers.setdefault("Referrer-Policy", "strict-origin-when-cross-origin")
    if response.mimetype == "text/html" and "Content-Security-Policy" not in headers:
        headers["Content-Security-Policy"] = problems.CONTENT_POLICY
        headers.setdefault("Cache-Control", "no-store")
    return response
