"""E2, E12: who may open an embed, how often, and what ends it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from errors import AppError, Invalid, RateLimited, Unauthenticated
from lib.ids import uuid7
from models import ApiKey, EmbedSession, RevokedToken, db, now
from services import customer_lifecycle, embeds, keys, team
from tests.embed.conftest import Crm
from tests.people import Somebody


def code_of(token: str) -> str:
    with pytest.raises(AppError) as caught:
        embeds.open(token)
    db.session.rollback()
    return caught.value.code


def opened(token: str) -> str:
    _, secret = embeds.open(token)
    db.session.commit()
    return secret


def holds(secret: str) -> bool:
    try:
        embeds.resume(secret)
    except Unauthenticated:
        return False
    return True


@pytest.mark.parametrize("seconds", [0, -1, 59, 86_401, 10**9, "3600", True, None, 60.0], ids=repr)
def test_e2_a_token_lasts_a_minute_to_a_day(crm: Crm, joe: Any, seconds: Any) -> None:
    with pytest.raises(Invalid) as caught:
        crm.token(joe, expires_in=seconds)
    assert caught.value.field == "expires_in"


@pytest.mark.parametrize("seconds", [60, 86_400])
def test_e2_both_ends_of_the_range_are_within_it(crm: Crm, joe: Any, seconds: int) -> None:
    token, expires_at = embeds.issue(crm.business, joe, scope="inbox", expires_in=seconds, api_key=crm.key)
    assert embeds.read(token).expires_at == expires_at
    assert timedelta(seconds=-1) <= expires_at - now() - timedelta(seconds=seconds) <= timedelta(seconds=1)


@pytest.mark.parametrize("scope", ["", "admin", "inbox:write", None])
def test_no_scope_but_ours(crm: Crm, joe: Any, scope: Any) -> None:
    with pytest.raises(Invalid):
        crm.token(joe, scope)


def test_a_token_opens_a_session_of_its_customer_and_scope(crm: Crm, joe: Any, bob: Somebody) -> None:
    visit, secret = embeds.open(crm.token(joe, "inbox:read", agent=bob.user), "https://crm.example.com")
    db.session.commit()
    assert (visit.customer.id, visit.business.id, visit.agent) == (joe.id, crm.business.id, bob.user)
    assert not visit.may_reply
    resumed = embeds.resume(secret)
    assert resumed.session.id == visit.session.id
    assert resumed.session.origin == "https://crm.example.com"


def test_only_a_hash_of_the_secret_is_kept(crm: Crm, joe: Any) -> None:
    visit, secret = embeds.open(crm.token(joe))
    assert len(secret) == 43
    assert secret.encode() not in visit.session.secret_hash
    assert len(visit.session.secret_hash) == 32


@pytest.mark.parametrize("secret", ["", "x", "é" * 43, "\ud800", "a" * 100_000])
def test_a_made_up_secret_resumes_nothing(in_app: Flask, secret: str) -> None:
    assert not holds(secret)


def test_an_expired_token_says_so(crm: Crm, joe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_of(crm.expired(joe, monkeypatch)) == "embed_token_expired"


def test_a_session_ends_with_its_token(crm: Crm, joe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = opened(crm.token(joe))
    assert holds(secret)
    monkeypatch.setattr(embeds, "now", lambda: now() + timedelta(seconds=3601))
    assert not holds(secret)


def test_a_revoked_token_is_dead_with_all_its_sessions_and_no_other_is(crm: Crm, joe: Any) -> None:
    token, another = crm.token(joe), crm.token(joe)
    first, second, third = opened(token), opened(token), opened(another)
    embeds.revoke_token(crm.business, embeds.read(token).id)
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert [holds(first), holds(second), holds(third)] == [False, False, True]


def test_nobody_revokes_another_businesss_token(crm: Crm, other: Crm, joe: Any) -> None:
    token = crm.token(joe)
    secret = opened(token)
    embeds.revoke_token(other.business, embeds.read(token).id)
    db.session.commit()
    assert holds(secret)
    assert holds(opened(token))


def test_revoking_a_customer_ends_what_was_issued_and_not_what_comes(crm: Crm, joe: Any) -> None:
    token, secret, spared = crm.token(joe), opened(crm.token(joe)), opened(crm.token(crm.customer("Ann")))
    embeds.revoke_customer(crm.business, joe)
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert [holds(secret), holds(spared)] == [False, True]
    assert holds(opened(crm.token(joe)))


def test_a_cut_off_ends_all_of_a_business_and_nothing_else(crm: Crm, other: Crm, joe: Any) -> None:
    token, secret = crm.token(joe), opened(crm.token(joe))
    foreign = opened(other.token(other.customer()))
    embeds.cut_off(crm.business)
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert [holds(secret), holds(foreign)] == [False, True]
    assert holds(opened(crm.token(joe)))


@pytest.mark.parametrize("end", ["revoke", "expire"])
def test_an_embed_ends_with_its_api_key(crm: Crm, joe: Any, end: str) -> None:
    token, secret = crm.token(joe), opened(crm.token(joe))
    if end == "revoke":
        keys.revoke(crm.business, crm.key)
    else:
        db.session.get_one(ApiKey, (crm.business.id, crm.key.id)).expires_at = now()
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert not holds(secret)


def test_an_embed_ends_with_the_agent_it_speaks_for(crm: Crm, joe: Any, alice: Somebody, bob: Somebody) -> None:
    token, secret = crm.token(joe, agent=bob.user), opened(crm.token(joe, agent=bob.user))
    unsigned = opened(crm.token(joe))
    team.deactivate(crm.business, bob.user, by=alice.user)
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert [holds(secret), holds(unsigned)] == [False, True]


def test_an_embed_ends_with_its_customer(crm: Crm, joe: Any) -> None:
    token, secret = crm.token(joe), opened(crm.token(joe))
    customer_lifecycle.erase(crm.business, joe.id)
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert not holds(secret)


def test_an_embed_follows_its_customer_into_a_merge(crm: Crm, joe: Any) -> None:
    kept = crm.customer("Joseph Bloggs")
    token, secret = crm.token(joe), opened(crm.token(joe))
    customer_lifecycle.merge(crm.business, kept.id, joe.id)
    db.session.commit()
    db.session.expire_all()
    assert embeds.resume(secret).customer.id == kept.id
    assert embeds.open(token)[0].customer.id == kept.id


def test_a_merge_gives_no_revoked_embed_its_life_back(crm: Crm, joe: Any) -> None:
    kept = crm.customer("Joseph Bloggs")
    token, secret = crm.token(joe), opened(crm.token(joe))
    embeds.revoke_customer(crm.business, joe)
    customer_lifecycle.merge(crm.business, kept.id, joe.id)
    db.session.commit()
    assert code_of(token) == "embed_token_revoked"
    assert not holds(secret)


def test_a_single_use_token_opens_once_even_after_its_view_was_closed(crm: Crm, joe: Any) -> None:
    token = crm.token(joe, single_use=True)
    secret = opened(token)
    assert code_of(token) == "embed_token_used"
    embeds.close(embeds.resume(secret).session)
    db.session.commit()
    assert code_of(token) == "embed_token_used"


def test_e12_a_token_has_at_most_twenty_live_sessions(crm: Crm, joe: Any) -> None:
    token = crm.token(joe)
    secrets = [opened(token) for _ in range(embeds.MAX_SESSIONS)]
    assert code_of(token) == "embed_too_many_sessions"
    assert all(map(holds, secrets))
    assert holds(opened(crm.token(joe)))  # another token of the same customer has its own twenty


def test_e12_the_cap_holds_against_thirty_at_once(crm: Crm, joe: Any, app: Flask) -> None:
    token = crm.token(joe)

    def try_once(_: int) -> bool:
        with app.app_context():
            try:
                embeds.open(token)
            except RateLimited:
                return False
            db.session.commit()
            return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(try_once, range(30))) == embeds.MAX_SESSIONS


def test_e12_a_view_that_was_closed_makes_room(crm: Crm, joe: Any) -> None:
    token = crm.token(joe)
    secrets = [opened(token) for _ in range(embeds.MAX_SESSIONS)]
    embeds.close(embeds.resume(secrets[3]).session)
    db.session.commit()
    assert holds(opened(token))
    assert not holds(secrets[3])


def test_e12_a_view_that_nobody_looks_at_any_more_gives_way(crm: Crm, joe: Any) -> None:
    """Hosts mount iframes again and again and seldom tell: the twenty-first of a day is no attack."""
    token = crm.token(joe)
    secrets = [opened(token) for _ in range(embeds.MAX_SESSIONS)]
    left = embeds.resume(secrets[7]).session
    left.seen_at = now() - embeds.IDLE
    db.session.commit()
    fresh = opened(token)
    assert holds(fresh)
    assert [holds(secret) for secret in secrets].count(False) == 1
    assert not holds(secrets[7])
    assert code_of(token) == "embed_too_many_sessions"


def test_a_refresh_goes_on_with_a_new_secret_and_ends_the_old_one(crm: Crm, joe: Any) -> None:
    secret = opened(crm.token(joe))
    visit, fresh = embeds.refresh(secret, crm.token(joe, "inbox:read"))
    db.session.commit()
    assert visit.session.scope == "inbox:read"
    assert [holds(secret), holds(fresh)] == [False, True]


def test_a_refresh_revives_a_view_that_is_over(crm: Crm, joe: Any) -> None:
    token = crm.token(joe)
    secret = opened(token)
    embeds.revoke_token(crm.business, embeds.read(token).id)
    db.session.commit()
    _, fresh = embeds.refresh(secret, crm.token(joe))
    assert holds(fresh)


def test_a_refresh_never_changes_the_customer(crm: Crm, other: Crm, joe: Any) -> None:
    secret = opened(crm.token(joe))
    for token in (crm.token(crm.customer("Ann")), other.token(other.customer())):
        with pytest.raises(Invalid) as caught:
            embeds.refresh(secret, token)
        assert caught.value.code == "embed_other_customer"
        db.session.rollback()
    assert holds(secret)


def test_a_refresh_needs_the_secret_of_a_view_that_was_open(crm: Crm, joe: Any) -> None:
    with pytest.raises(Unauthenticated):
        embeds.refresh("made up", crm.token(joe))


def test_what_no_token_can_ask_about_is_swept(crm: Crm, joe: Any) -> None:
    token = crm.token(joe)
    opened(token)
    old, _ = embeds.open(crm.token(joe))
    long_ago = now() - timedelta(hours=26)
    old.session.expires_at = long_ago
    gone = RevokedToken(business_id=crm.business.id, token_id=uuid7(), created_at=long_ago)
    db.session.add(gone)
    embeds.revoke_token(crm.business, embeds.read(crm.token(joe)).id)
    db.session.commit()
    embeds.sweep_expired()
    db.session.commit()
    mine = {"business_id": crm.business.id}
    assert db.session.query(EmbedSession).filter_by(**mine).count() == 1
    assert db.session.query(RevokedToken).filter_by(**mine).count() == 1
