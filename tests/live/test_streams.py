"""The streams of the running product: what each audience hears, how soon, what ends them, and what they cost (R11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from time import monotonic
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from lib.ids import uuid7
from models import EmbedSession, User, db, now
from services import (
    businesses,
    conversations,
    customer_lifecycle,
    embeds,
    events,
    keys,
    messages,
    news,
    team,
)
from tests.embed.conftest import Crm, Visitor
from tests.live.streams import Screen, cookie_of, until
from tests.processes import Live


@pytest.fixture
def crm(live: Live) -> Iterator[Crm]:
    with live.app.app_context():
        yield Crm(businesses.create("Acme"), live.app.test_client())
        db.session.rollback()


@pytest.fixture
def joe(crm: Crm) -> Any:
    customer = crm.customer("Joe Bloggs")
    crm.says(customer, "hello")
    return customer


@pytest.fixture
def watch(live: Live) -> Iterator[Callable[..., Screen]]:
    """Open streams that are closed in the end."""
    screens: list[Screen] = []

    def open_(path: str, headers: dict[str, str]) -> Screen:
        screens.append(Screen(live.base_url, path, headers))
        return screens[-1]

    yield open_
    for screen in screens:
        screen.close()


def somebody(crm: Crm, name: str = "Bob") -> Any:
    """Add an admin; without a password, whose hash takes its time."""
    user = User(business_id=crm.business.id, id=uuid7(), name=name, email=f"{uuid7().hex}@example.com", role="admin")
    db.session.add(user)
    db.session.commit()
    return user


@pytest.fixture
def bob(crm: Crm) -> Any:
    return somebody(crm)


@pytest.fixture
def agents_screen(live: Live, watch: Callable[..., Screen], bob: Any) -> Screen:
    return watch("/live", cookie_of(live.app, bob))


def newest(crm: Crm) -> int:
    return news.newest([crm.business.id])[crm.business.id]


def test_an_agent_hears_of_a_message_as_the_fragment_that_pages_show(crm: Crm, joe: Any, agents_screen: Screen) -> None:
    headers = agents_screen.answer.headers
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    message = crm.says(joe, "line one\n\n  line <three>\u2028four")
    assert until(lambda: f'id="m-{message.id}"' in agents_screen.html) < 1.0
    assert "line one\n\n  line &lt;three&gt;\u2028four" in agents_screen.html
    assert agents_screen.of("html")[-1].id == newest(crm)


def test_nobody_hears_of_another_business(crm: Crm, joe: Any, agents_screen: Screen, live: Live) -> None:
    other = Crm(businesses.create("Globex"), live.app.test_client())
    other.says(other.customer("Foreign"), "of another house")
    crm.says(joe, "of ours")
    until(lambda: "of ours" in agents_screen.html)
    assert "another house" not in agents_screen.html


@pytest.mark.parametrize("path", ["/live", "/embed/live"])
def test_a_stream_asks_who_is_there(live: Live, watch: Callable[..., Screen], path: str) -> None:
    assert watch(path, {}).answer.status == 401
    assert watch(path, {"X-Embed-Session": "x" * 43, "Cookie": "alc_session=x"}).answer.status == 401


@pytest.mark.parametrize("after", ["-1", "x", "1e3", "", "٣", "9" * 30, "1 OR 1"], ids=ascii)
def test_a_misshapen_sequence_is_the_callers_mistake(
    live: Live, watch: Callable[..., Screen], bob: Any, after: str
) -> None:
    assert watch(f"/live?after={quote(after)}", cookie_of(live.app, bob)).answer.status == 422


def test_what_was_missed_comes_first_in_order_and_once(
    crm: Crm, joe: Any, bob: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    seen = newest(crm)
    missed = [crm.says(joe, f"missed {number}") for number in range(5)]
    screen = watch(f"/live?after={seen}", cookie_of(live.app, bob))
    later = [crm.says(joe, f"later {number}") for number in range(5)]
    until(lambda: f'id="m-{later[-1].id}"' in screen.html)
    ids = [one.id for one in screen.heard]
    assert ids == sorted(ids)
    for message in missed + later:
        assert screen.html.count(f'id="m-{message.id}"') == 1


def test_a_screen_that_missed_too_much_starts_afresh(
    crm: Crm, bob: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    seen = newest(crm)
    for _ in range(520):
        events.append(crm.business.id, "customer.updated", customer_id=uuid7())
    db.session.commit()
    screen = watch(f"/live?after={seen}", cookie_of(live.app, bob))
    until(lambda: screen.of("reset"))
    assert screen.of("reset")[0].id == newest(crm)
    assert screen.of("html") == []


def test_a_screen_that_knows_more_than_the_database_starts_afresh(
    crm: Crm, bob: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    screen = watch(f"/live?after={newest(crm) + 1}", cookie_of(live.app, bob))
    until(lambda: screen.of("reset"))
    assert screen.of("reset")[0].id == newest(crm)


@pytest.mark.parametrize("end", ["deactivated", "password"])
def test_an_agents_stream_ends_with_the_session(crm: Crm, bob: Any, agents_screen: Screen, end: str) -> None:
    boss = somebody(crm, "Alice")
    if end == "deactivated":
        team.deactivate(crm.business, bob, by=boss)
    else:
        team.set_password(bob, "a new password, just as long")
    db.session.commit()
    assert until(lambda: agents_screen.of("bye")) < 2.5
    until(lambda: agents_screen.ended)


# --- embeds ---


def embed(crm: Crm, customer: Any, live: Live, watch: Callable[..., Screen], after: int | None = None) -> Any:
    visitor = Visitor(crm, crm.open(crm.token(customer)))
    path = "/embed/live" if after is None else f"/embed/live?after={after}"
    return watch(path, {"X-Embed-Session": visitor.secret})


def test_an_embed_hears_of_its_customer_alone_and_never_of_notes(
    crm: Crm, joe: Any, bob: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    screen = embed(crm, joe, live, watch)
    crm.says(crm.customer("Ann"), "from Ann")
    message = crm.says(joe, "from Joe")
    conversation = conversations.get(crm.business, message.conversation_id)
    messages.note(crm.business, conversation, "among us", bob)
    db.session.commit()
    conversations.set_status(crm.business, conversation, "closed", by="Bob")
    db.session.commit()
    until(lambda: 'data-status="closed"' in screen.html)
    assert "from Joe" in screen.html
    assert "from Ann" not in screen.html
    assert "among us" not in screen.html
    assert 'hx-post="/inbox' not in screen.html


def test_an_embed_catches_up_on_its_own_customer_alone(
    crm: Crm, joe: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    seen = newest(crm)
    for _ in range(600):  # a busy day for everybody else
        events.append(crm.business.id, "customer.updated", customer_id=uuid7())
    db.session.commit()
    crm.says(joe, "missed this")
    screen = embed(crm, joe, live, watch, after=seen)
    until(lambda: "missed this" in screen.html)
    assert screen.of("reset") == []


@pytest.mark.parametrize("end", ["key", "token", "customer", "business", "time", "erased"])
def test_an_embeds_stream_ends_within_two_seconds_of_its_right(
    crm: Crm, joe: Any, live: Live, watch: Callable[..., Screen], end: str
) -> None:
    token = crm.token(joe)
    visitor = Visitor(crm, crm.open(token))
    screen = watch("/embed/live", {"X-Embed-Session": visitor.secret})
    session = embeds.resume(visitor.secret).session
    if end == "key":
        keys.revoke(crm.business, crm.key)
    elif end == "token":
        embeds.revoke_token(crm.business, embeds.read(token).id)
    elif end == "customer":
        embeds.revoke_customer(crm.business, joe)
    elif end == "business":
        embeds.cut_off(crm.business)
    elif end == "time":
        db.session.get_one(EmbedSession, (crm.business.id, session.id)).expires_at = now() + timedelta(seconds=0.2)
    else:
        customer_lifecycle.erase(crm.business, joe.id)
    db.session.commit()
    assert until(lambda: screen.of("bye")) < 2.5
    until(lambda: screen.ended)
    assert watch("/embed/live", {"X-Embed-Session": visitor.secret}).answer.status == 401


def test_an_embed_follows_its_customer_into_a_merge(
    crm: Crm, joe: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    kept = crm.customer("Joseph Bloggs")
    visitor = Visitor(crm, crm.open(crm.token(joe)))
    screen = watch("/embed/live", {"X-Embed-Session": visitor.secret})
    customer_lifecycle.merge(crm.business, kept.id, joe.id)
    db.session.commit()
    until(lambda: screen.of("reset") and screen.ended)
    assert screen.of("bye") == []
    again = watch("/embed/live", {"X-Embed-Session": visitor.secret})
    crm.says(kept, "to both")
    until(lambda: "to both" in again.html)


def test_an_open_view_counts_as_seen(crm: Crm, joe: Any, live: Live, watch: Callable[..., Screen]) -> None:
    """Else a host that mounts its iframe again would push out the one that somebody reads."""
    visitor = Visitor(crm, crm.open(crm.token(joe)))
    session = db.session.query(EmbedSession).filter_by(business_id=crm.business.id).one()
    session.seen_at = now() - timedelta(hours=1)
    db.session.commit()
    watch("/embed/live", {"X-Embed-Session": visitor.secret})

    def seen() -> bool:
        db.session.expire_all()
        db.session.rollback()
        return session.seen_at > now() - timedelta(seconds=60)

    until(seen, 40)


# --- R11 ---


def test_r11_three_hundred_idle_streams_hold_no_connection_and_slow_nobody(
    crm: Crm, joe: Any, bob: Any, live: Live, watch: Callable[..., Screen]
) -> None:
    cookie = cookie_of(live.app, bob)
    people = [cookie_of(live.app, somebody(crm, f"Agent {number}")) for number in range(12)]
    screens = [watch("/live", people[number % 12]) for number in range(240)]
    visitors = [Visitor(crm, crm.open(crm.token(joe))) for _ in range(60)]
    screens += [watch("/embed/live", {"X-Embed-Session": visitor.secret}) for visitor in visitors]
    assert {screen.answer.status for screen in screens} == {200}
    with psycopg.connect(live.services.psycopg(), autocommit=True) as connection:
        query = """SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in%%' OR state = 'active')
                   FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        held, busy = connection.execute(query).fetchone() or (0, 0)
    assert held < 60
    assert busy < 5
    began = monotonic()
    for _ in range(20):
        Screen(live.base_url, "/healthz", cookie).close()
    assert (monotonic() - began) / 20 < 0.25
    message = crm.says(joe, "to all of you")
    took = until(lambda: all(f"m-{message.id}" in screen.html for screen in screens), 15)
    assert took < 5
    assert not any(screen.ended for screen in screens)
