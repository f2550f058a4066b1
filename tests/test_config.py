"""Settings are read once, typed, and refused in sentences."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

import config

SECRET = "a secret of the tests, forty characters long"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for field in config.Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


def test_production_without_a_secret_key_refuses_and_says_how_to_make_one() -> None:
    with pytest.raises(config.ConfigError, match=r"SECRET_KEY is not set\..*secrets\.token_urlsafe"):
        config.load(APP_ENV="production")


def test_a_short_secret_key_is_refused() -> None:
    with pytest.raises(config.ConfigError, match="shorter than 32"):
        config.load(SECRET_KEY="short")


def test_development_makes_a_secret_key_once_and_shows_it_to_nobody_else(tmp_path: Path) -> None:
    first = config.load(APP_ENV="development", DATA_DIR=tmp_path)
    assert config.load(APP_ENV="development", DATA_DIR=tmp_path).secret_key == first.secret_key
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "given",
    ["postgres://u:p@host/name", "postgresql://u:p@host/name", "postgresql+psycopg://u:p@host/name"],
)
def test_a_database_address_is_taken_in_every_form_that_platforms_hand_out(given: str) -> None:
    assert config.load(SECRET_KEY=SECRET, DATABASE_URL=given).database_url == "postgresql+psycopg://u:p@host/name"


def test_networks_are_parsed_and_a_wrong_one_is_named() -> None:
    networks = config.load(SECRET_KEY=SECRET, WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/8, ::1/128").webhook_allowed_networks
    assert networks == [ip_network("10.0.0.0/8"), ip_network("::1/128")]
    with pytest.raises(config.ConfigError, match=r"WEBHOOK_ALLOWED_NETWORKS.*10\.0\.0\.0/99"):
        config.load(SECRET_KEY=SECRET, WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/99")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "no number"), ("PORT", "70000"), ("PUBLIC_URL", "chat.example.com"), ("APP_ENV", "prod")],
)
def test_nonsense_is_refused_by_the_setting_s_own_name(name: str, value: str) -> None:
    with pytest.raises(config.ConfigError, match=f"^{name}: "):
        config.load(**{"SECRET_KEY": SECRET, name: value})
