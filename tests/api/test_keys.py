"""A5: API keys are known by a hash, end within a second, and their use is counted and shown."""

from __future__ import annotations

import time
from datetime import timedelta

import time_machine
from flask import Flask
from sqlalchemy import select, text

from lib.keys import _checksum as checksum
from models import ApiKey, AuditEntry, Business, db, now
from services import keys, usage
from tests import factories
from tests.factories import Api
from tests.people import Somebody


def test_the_database_holds_no_key_only_its_hash_and_preview(api: Api, acme: Business) -> None:
    made = api.post("/api-keys", {"name": "Nightly", "scopes": ["customers", "customers:read"]}).json["api_key"]
    assert made["scopes"] == ["customers:read", "customers"]
    dump = db.session.execute(text("SELECT api_keys::text FROM api_keys WHERE business_id = :id"), {"id": acme.id})
    secret = made["key"].rpartition("_")[2]
    assert not any(secret[:20] in line or made["key"] in line for line in dump.scalars())
    shown = api.get("/api-keys", id=made["id"]).json["api_key"]
    assert "key" not in shown
    assert shown["preview"] == made["preview"]
    assert made["key"].startswith(made["preview"].partition("…")[0])


def test_a_revoked_key_is_refused_everywhere_within_a_second(api: Api, app: Flask, acme: Business) -> None:
    made = api.post("/api-keys", {"name": "Gone", "scopes": ["customers:read"]}).json["api_key"]
    caller = Api(app, made["key"])
    assert caller.get("/api-customers").status_code == 200
    assert api.delete("/api-keys", id=made["id"]).status_code == 200
    time.sleep(1)
    response = caller.get("/api-customers")
    assert (response.status_code, response.json["error"]["code"]) == (401, "revoked_api_key")
    listed = {key["id"]: key for key in api.get("/api-keys").json["api_keys"]}
    assert listed[made["id"]]["revoked_at"]


def test_a_new_key_works_at_once_though_it_was_tried_before(app: Flask, acme: Business, in_app: Flask) -> None:
    _, text_ = keys.create(acme, "early", ["customers:read"])
    caller = Api(app, text_)
    assert caller.get("/api-customers").status_code == 401  # not committed yet
    db.session.commit()
    assert caller.get("/api-customers").status_code == 200


def test_an_expired_key_is_refused_and_says_so(app: Flask, acme: Business) -> None:
    caller = Api(app, factories.api_key(acme, "customers:read", expires_at=now() + timedelta(hours=1)))
    assert caller.get("/api-customers").status_code == 200
    with time_machine.travel(now() + timedelta(hours=2)):
        response = caller.get("/api-customers")
    assert (response.status_code, response.json["error"]["code"]) == (401, "expired_api_key")


def test_a_key_with_one_changed_character_is_refused(app: Flask, alice: Somebody) -> None:
    for place in (9, 25, 50, 70):
        other = "a" if alice.key[place] != "a" else "b"
        forged = alice.key[:place] + other + alice.key[place + 1 :]
        assert Api(app, forged).get("/api-customers").status_code == 401, place


def test_the_id_of_one_key_with_the_secret_of_another_is_refused(app: Flask, alice: Somebody, bob: Somebody) -> None:
    # The checksum is made right, as anybody can: the hash alone decides.
    body = alice.key[:22] + bob.key[22:-6]
    assert Api(app, body + checksum(body)).get("/api-customers").status_code == 401


def test_a_key_may_come_as_a_bearer_token(app: Flask, alice: Somebody) -> None:
    caller = Api(app, None)
    assert caller.get("/api-customers", headers={"Authorization": f"Bearer {alice.key}"}).status_code == 200
    assert caller.get("/api-customers", headers={"Authorization": f"Basic {alice.key}"}).status_code == 401
    assert caller.get("/api-customers", headers={"Cookie": f"x-api-key={alice.key}"}).status_code == 401


def test_a_rotated_key_goes_on_for_a_day_and_its_successor_has_the_same_scopes(api: Api, app: Flask) -> None:
    old = api.post("/api-keys", {"name": "Sync", "scopes": ["customers"]}).json["api_key"]
    new = api.patch(f"/api-keys?id={old['id']}", {"rotate": True}).json["api_key"]
    assert (new["name"], new["scopes"]) == ("Sync", ["customers"])
    assert new["id"] != old["id"]
    for key in (old["key"], new["key"]):
        assert Api(app, key).get("/api-customers").status_code == 200
    with time_machine.travel(now() + timedelta(hours=25)):
        assert Api(app, old["key"]).get("/api-customers").status_code == 401
        assert Api(app, new["key"]).get("/api-customers").status_code == 200


def test_the_last_use_of_a_key_is_shown(api: Api, app: Flask) -> None:
    made = api.post("/api-keys", {"name": "Used", "scopes": ["customers:read"]}).json["api_key"]
    assert made["last_used_at"] is None
    Api(app, made["key"]).get("/api-customers")
    usage.flush()
    assert api.get("/api-keys", id=made["id"]).json["api_key"]["last_used_at"]


def test_what_is_done_to_keys_is_audited_by_name(api: Api, acme: Business, alice: Somebody) -> None:
    made = api.post("/api-keys", {"name": "Audited", "scopes": ["send"]}).json["api_key"]
    api.patch(f"/api-keys?id={made['id']}", {"scopes": ["embed"]})
    api.delete("/api-keys", id=made["id"])
    query = select(AuditEntry).where(AuditEntry.business_id == acme.id, AuditEntry.subject_id == made["id"])
    entries = list(db.session.scalars(query.order_by(AuditEntry.at)))
    assert [entry.action for entry in entries] == ["api_key.created", "api_key.changed", "api_key.revoked"]
    assert {(entry.actor_kind, entry.actor_name) for entry in entries} == {("api_key", "Alice's key")}
    assert not any(made["key"][30:] in str(entry.details) for entry in entries)


def test_a_key_needs_a_name_and_known_scopes(api: Api) -> None:
    for body in (
        {"name": "", "scopes": ["send"]},
        {"name": " ", "scopes": ["send"]},
        {"name": "K", "scopes": []},
        {"name": "K", "scopes": ["root"]},
        {"name": "K", "scopes": "send"},
        {"name": "K", "scopes": ["send"], "expires_at": "2001-01-01T00:00:00Z"},
    ):
        assert api.post("/api-keys", body).status_code == 422, body


def test_keys_are_kept_apart_by_business_even_in_the_cache(app: Flask, alice: Somebody, charlie: Somebody) -> None:
    """T11: the same process serves two businesses in turn."""
    ours = factories.customer(alice.business, name="Ours")
    for _ in range(3):
        assert Api(app, alice.key).get("/api-customers", id=ours.id).json["name"] == "Ours"
        assert Api(app, charlie.key).get("/api-customers", id=ours.id).status_code == 404
    rows = db.session.scalars(select(ApiKey).where(ApiKey.business_id == alice.business.id)).all()
    assert {row.business_id for row in rows} == {alice.business.id}
