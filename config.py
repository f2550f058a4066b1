"""Every setting, read once from the environment, typed, refusing nonsense with a sentence.

`load()` is called by the entrances (app, worker, cli, sandbox); nobody else reads the environment.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024


class ConfigError(Exception):
    """A setting makes no sense; the message names it and says what to do."""


class Settings(BaseSettings):
    """The environment, as the product understands it. `docs/operations.md` lists each one."""

    model_config = SettingsConfigDict(env_file=None, extra="ignore")

    # Where and how we run
    env: Literal["production", "development", "test"] = Field("production", alias="APP_ENV")
    port: int = Field(8000, alias="PORT", ge=1, le=65535)
    data_dir: Path = Field(Path("var"), alias="DATA_DIR")
    public_url: str = Field("", alias="PUBLIC_URL")
    secret_key: str = Field("", alias="SECRET_KEY")
    log_level: str = Field("INFO", alias="LOG_LEVEL")
    web_workers: int = Field(1, alias="WEB_WORKERS", ge=1)
    trusted_proxies: int = Field(0, alias="TRUSTED_PROXIES", ge=0)
    metrics_token: str = Field("", alias="METRICS_TOKEN")

    # What we stand on
    database_url: str = Field("", alias="DATABASE_URL")
    redis_url: str = Field("", alias="REDIS_URL")
    storage_url: str = Field("", alias="STORAGE_URL")
    db_pool_size: int = Field(20, alias="DB_POOL_SIZE", ge=1)

    # The JSON API
    api_rate_limit: int = Field(600, alias="API_RATE_LIMIT", ge=1)
    api_allowed_origins: Annotated[list[str], NoDecode] = Field(["*"], alias="API_ALLOWED_ORIGINS")
    api_max_body: int = Field(8 * MIB, alias="API_MAX_BODY_BYTES", ge=1024)
    upload_max_bytes: int = Field(10 * MIB, alias="UPLOAD_MAX_BYTES", ge=1024)
    usage_log_days: int = Field(30, alias="USAGE_LOG_DAYS", ge=1)
    download_url_days: int = Field(7, alias="DOWNLOAD_URL_DAYS", ge=1)

    # Webhooks
    webhook_allowed_networks: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        [], alias="WEBHOOK_ALLOWED_NETWORKS"
    )
    webhook_concurrency: int = Field(256, alias="WEBHOOK_CONCURRENCY", ge=1)
    webhook_retention_days: int = Field(30, alias="WEBHOOK_RETENTION_DAYS", ge=1)

    # Providers
    meta_graph_url: str = Field("https://graph.facebook.com", alias="META_GRAPH_URL")
    meta_graph_version: str = Field("v26.0", alias="META_GRAPH_VERSION", pattern=r"^v\d+\.\d+$")
    instagram_graph_url: str = Field("https://graph.instagram.com", alias="INSTAGRAM_GRAPH_URL")
    twilio_api_url: str = Field("https://api.twilio.com", alias="TWILIO_API_URL")
    google_oauth_url: str = Field("https://oauth2.googleapis.com", alias="GOOGLE_OAUTH_URL")
    microsoft_login_url: str = Field("https://login.microsoftonline.com", alias="MICROSOFT_LOGIN_URL")
    callback_max_body: int = Field(4 * MIB, alias="CALLBACK_MAX_BODY_BYTES", ge=1024)
    sandbox_url: str = Field("", alias="SANDBOX_URL")
    sandbox_smtp_port: int = Field(0, alias="SANDBOX_SMTP_PORT", ge=0, le=65535)
    sandbox_imap_port: int = Field(0, alias="SANDBOX_IMAP_PORT", ge=0, le=65535)

    # Mail
    mail_listen: str = Field("", alias="MAIL_LISTEN", pattern=r"^((smtp|lmtp)://)?[^\s/]+:\d{1,5}$|^$")
    mail_max_bytes: int = Field(36 * MIB, alias="MAIL_MAX_BYTES", ge=64 * 1024)
    mail_trusted_hosts: Annotated[list[str], NoDecode] = Field([], alias="MAIL_TRUSTED_HOSTS")

    @field_validator("api_allowed_origins", "mail_trusted_hosts", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [ip_network(word, strict=False) for word in value.replace(",", " ").split()]

    @field_validator("database_url")
    @classmethod
    def _name_driver(cls, value: str) -> str:
        """Take the address in the form in which hosting platforms hand it out, too."""
        scheme, _, rest = value.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else value

    @field_validator(
        *("public_url", "sandbox_url", "meta_graph_url", "instagram_graph_url", "twilio_api_url"),
        *("google_oauth_url", "microsoft_login_url"),
    )
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _fill_in(self) -> Settings:
        if not self.secret_key:
            if self.env == "production":
                raise ValueError(
                    "SECRET_KEY is not set. It signs sessions and encrypts channel secrets, so production does not "
                    'start without it. Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
                )
            self.secret_key = _kept_secret(self.data_dir / "secret_key")
        elif len(self.secret_key) < 32:
            raise ValueError("SECRET_KEY is shorter than 32 characters; take a longer random one")
        self.data_dir = self.data_dir.absolute()
        self.public_url = self.public_url or f"http://localhost:{self.port}"
        self.storage_url = self.storage_url or f"file://{self.data_dir / 'files'}"
        return self


def _kept_secret(path: Path) -> str:
    """Make a secret for development once and keep it, so that a restart signs nobody out."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text().strip()


def load(**overrides: object) -> Settings:
    """Read the settings; raise `ConfigError` with one line for each that makes no sense."""
    try:
        return Settings(_env_file=_beside_a_run(overrides), **overrides)  # type: ignore[arg-type, call-arg]
    except ValidationError as exc:
        raise ConfigError("\n".join(_sentence(error) for error in exc.errors())) from None


def _beside_a_run(overrides: dict[str, object]) -> Path | None:
    """Find what a `make run` on this DATA_DIR has settled, for a command typed beside it without a DATABASE_URL."""
    if "DATABASE_URL" in overrides or os.environ.get("DATABASE_URL"):
        return None
    folder = Path(str(overrides.get("DATA_DIR") or os.environ.get("DATA_DIR") or "var"))
    with suppress(FileNotFoundError), (folder / "servers.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return folder / "run.env"
    return None


def _sentence(error: object) -> str:
    name = ".".join(str(part) for part in error["loc"])  # type: ignore[index]
    text = str(error["msg"]).removeprefix("Value error, ")  # type: ignore[index]
    return f"{name}: {text}" if name else text
