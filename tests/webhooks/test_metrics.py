"""What a scraper reads: the standard parser understands it, counters rise, each endpoint tells what it waits for."""

from __future__ import annotations

import time

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from lib import tallies
from models import Business, db
from services import webhooks
from tests.receivers import Receiver, status
from tests.webhooks.conftest import subscribe, tell

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(client: FlaskClient) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"alacarte_{name}", tuple(sorted(labels.items()))), 0)


def risen(client: FlaskClient, before: Samples, name: str, by: int, **labels: str) -> Samples:
    for _ in range(400):
        samples = scrape(client)
        if value(samples, name, **labels) - value(before, name, **labels) >= by:
            return samples
        time.sleep(0.05)
    raise AssertionError(f"{name} {labels} rose by {value(samples, name, **labels) - value(before, name, **labels)}")


def test_deliveries_are_counted_by_how_they_ended(
    acme: Business, client: FlaskClient, receiver: Receiver, draining: None
) -> None:
    before = scrape(client)
    receiver.will(status(503), status(200), status(404))
    subscribe(acme, receiver.url())
    tell(acme, "Joe")
    risen(client, before, "webhook_deliveries_total", 1, state="delivered")
    tell(acme, "Zoë")
    after = risen(client, before, "webhook_deliveries_total", 1, state="failed")
    for result in ("server_error", "client_error", "delivered"):
        risen(client, before, "webhook_attempts_total", 1, result=result)
    buckets = [
        number for (name, _), number in after.items() if name == "alacarte_webhook_attempt_seconds_bucket"
    ]  # in the order of their bounds
    assert buckets == sorted(buckets)
    assert buckets[-1] == value(after, "webhook_attempt_seconds_count")


def test_what_an_endpoint_waits_for_is_seen_even_while_it_is_paused(acme: Business, client: FlaskClient) -> None:
    endpoint = subscribe(acme, "http://127.0.0.1:9/")
    webhooks.pause(endpoint, "A test.")
    db.session.commit()
    tell(acme, "Joe", "Zoë")
    samples = scrape(client)
    assert value(samples, "webhook_endpoint_waiting", endpoint=str(endpoint.id)) == 2
    assert 0 <= value(samples, "webhook_endpoint_lag_seconds", endpoint=str(endpoint.id)) < 10


def test_a_token_closes_the_door(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.extensions["settings"], "metrics_token", "scrape-me")
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer scrape-me"}).status_code == 200


def test_counting_never_fails_because_of_the_queue() -> None:
    away = Redis(port=1, socket_connect_timeout=0.1)
    tallies.add(away, tallies.Tally({"x_total": 1}))
    assert tallies.read(away) == {}
