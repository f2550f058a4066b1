"""The Messenger and Instagram channels against the provider sandbox: real calls out, signed callbacks in.

Each test runs for Messenger, for Instagram with its own login, and for Instagram through that very Messenger's page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import channels
from channels import endpoints
from channels.base import Account, AccountNotice, Change, ChannelError, File, Inbound, Outgoing, Receipt
from tests.channels import kinds, stage
from tests.channels.stage import Stage

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64
PDF = b"%PDF-1.4 receipt"
WAYS: dict[str, dict[str, str]] = {
    "facebook": kinds.PROVIDERS["facebook"].config,
    "instagram": kinds.PROVIDERS["instagram"].config,
    "instagram by page": kinds.PROVIDERS["instagram"].config
    | {
        "account_id": "17841400000000009",
        "login": "facebook",
        "page_id": "111",
        "access_token": "EAAG-page-token",
        "username": "acme.shop",
        "instagram_app_secret": "",
    },
}


@dataclass
class Shop:
    """One account of ours, and a customer who has just written to it."""

    stage: Stage
    channel: Any
    account: Account
    key: str
    person: str = "24000000000000222"

    @property
    def kind(self) -> str:
        return str(self.channel.kind)

    def say(self, **body: Any) -> Any:
        return self.stage.control(f"{self.kind}/say", account=self.key, **{"from": self.person, **body})

    def chat(self) -> list[Any]:
        path = f"{self.kind}/messages?account={self.key}&person={self.person}"
        return list(self.stage.get(path)["messages"])

    def ours(self) -> list[Any]:
        return [one for one in self.chat() if one["direction"] == "from_business"]

    def send(self, **parts: Any) -> tuple[str, ...]:
        return tuple(self.channel.send(self.account, Outgoing("msg-8f2", self.person, **parts)).provider_ids)

    def refused(self, **parts: Any) -> ChannelError:
        with pytest.raises(ChannelError) as caught:
            self.send(**parts)
        return caught.value

    def file(self, content: bytes = PNG, mime: str = "image/png", name: str = "lamp.png") -> File:
        self.stage.files[f"/{name}"] = content
        return File(f"file-{name}", name, mime, len(content), lambda: content, f"{self.stage.address}/{name}")


@pytest.fixture(scope="module")
def running() -> Iterator[Stage]:
    with stage.running() as found:
        for way, given in WAYS.items():
            kind = way.partition(" ")[0]
            config = channels.get(kind).normalise(given)
            found.configs[f"/callbacks/{way.replace(' ', '-')}"] = (kind, config)
        yield found


def declare(found: Stage) -> None:
    """Tell the sandbox of our three accounts, and of nothing else."""
    found.control("reset")
    for path, (kind, config) in found.configs.items():
        own = path.endswith("/instagram")
        known = {"override_callback_url": found.address + path, "verified_name": "Acme"}
        switches = {"human_agent": not own, "require_app_secret": not own}
        found.control(f"{kind}/accounts", **config | known | switches)


@pytest.fixture(params=WAYS)
def shop(running: Stage, request: pytest.FixtureRequest) -> Iterator[Shop]:
    declare(running)
    running.items.clear()
    before = endpoints.current()
    endpoints.configure(endpoints.Endpoints(meta_graph_url=running.sandbox, instagram_graph_url=running.sandbox))
    kind, config = running.configs[f"/callbacks/{request.param.replace(' ', '-')}"]
    channel: Any = channels.get(kind)
    found = Shop(running, channel, Account("a", "b", channel.kind, "", config), channel.account_key(config))
    found.say(text="Hello", name="Aoife Walsh")
    running.wait(Inbound)
    yield found
    endpoints.configure(before)


def test_a_customers_text_arrives_with_who_they_are(shop: Shop) -> None:
    shop.say(text="Dia dhuit 😀")
    item = shop.stage.wait(Inbound, lambda item: item.text == "Dia dhuit 😀")
    assert (item.account, item.person.address, item.person.scoped_id) == (shop.key, shop.person, shop.person)


def test_an_answer_reaches_the_phone_comes_back_and_is_read(shop: Shop) -> None:
    shop.stage.control(f"{shop.kind}/people", account=shop.key, person=shop.person, auto_read=True)
    (provider_id,) = shop.send(text="Yes")
    echo = shop.stage.wait(Inbound, lambda item: item.echo)
    assert (echo.provider_id, echo.text, echo.person.address) == (provider_id, "Yes", shop.person)
    assert echo.message_id == ("msg-8f2" if shop.kind == "facebook" else None)
    read = shop.stage.wait(Receipt, lambda item: item.status == "read")
    assert read.person == shop.person
    if shop.kind == "facebook":
        delivered = shop.stage.wait(Receipt, lambda item: item.status == "delivered")
        assert delivered.provider_id == provider_id
        assert read.watermark >= echo.at.replace(microsecond=echo.at.microsecond // 1000 * 1000)
    else:
        assert (read.provider_id, read.and_before) == (provider_id, True)
        assert not [item for item in shop.stage.items if isinstance(item, Receipt) and item.status == "delivered"]
    assert [one["text"] for one in shop.ours()] == ["Yes"]


def test_a_picture_goes_out_whole_after_its_text(shop: Shop) -> None:
    ids = shop.send(text="look", files=[shop.file()])
    assert [one["id"] for one in shop.ours()] == list(ids)
    text, picture = shop.ours()
    assert (text["text"], picture["type"]) == ("look", "image")
    assert picture["media"]["sha256"] == hashlib.sha256(PNG).hexdigest()
    echo = shop.stage.wait(Inbound, lambda item: item.echo and item.media)
    assert shop.channel.fetch_media(shop.account, echo.media[0], max_bytes=1000)[0] == PNG


def test_a_document_goes_out_as_a_file(shop: Shop) -> None:
    shop.send(files=[shop.file(PDF, "application/pdf", "receipt.pdf")])
    (shown,) = shop.ours()
    assert (shown["type"], shown["media"]["mime"]) == ("file", "application/pdf")


def test_a_long_text_arrives_in_pieces(shop: Shop) -> None:
    text = " ".join(["dúnadh"] * 400)
    shop.send(text=text)
    shown = [one["text"] for one in shop.ours()]
    assert len(shown) > 1
    assert " ".join(shown) == text


@pytest.mark.parametrize(("name", "mime", "content"), [("a.png", "image/png", PNG), ("b.pdf", "application/pdf", PDF)])
def test_a_file_comes_in_whole(shop: Shop, name: str, mime: str, content: bytes) -> None:
    fields: dict[str, Any] = {"account": shop.key, "from": shop.person, "file": (name, content, mime)}
    shop.stage.http.request("POST", f"{shop.stage.sandbox}/control/{shop.kind}/say", fields=fields)
    item = shop.stage.wait(Inbound, lambda item: item.media)
    found, declared, filename = shop.channel.fetch_media(shop.account, item.media[0], max_bytes=1000)
    assert (found, declared) == (content, mime)
    assert filename.endswith(name[1:])


def test_a_link_to_a_file_dies_after_a_day(shop: Shop) -> None:
    file = {"filename": "a.png", "mime": "image/png", "data": "iVBORw0KGgo="}
    shop.say(file=file)
    item = shop.stage.wait(Inbound, lambda item: item.media)
    shop.stage.control("clock", advance=25 * 3600)
    with pytest.raises(ChannelError) as caught:
        shop.channel.fetch_media(shop.account, item.media[0], max_bytes=1000)
    assert caught.value.code == "media_gone"


def test_the_window_closes_after_a_day_and_a_person_may_still_answer_for_a_week(shop: Shop) -> None:
    shop.stage.control("clock", advance=25 * 3600)
    error = shop.refused(text="Still there?")
    assert (error.action, error.code in ("10/2018278", "10/2534022")) == ("window", True)
    agent = Account("a", "b", shop.account.kind, "", dict(shop.account.config) | {"human_agent": "yes"})
    late = Outgoing("m", shop.person, text="Sorry for the wait", window_open=False)
    if shop.account.config.get("login") != "instagram":  # that one's app was not granted the feature
        assert shop.channel.send(agent, late).provider_ids
        assert shop.ours()[-1]["tag"] == "HUMAN_AGENT"
        shop.stage.control("clock", advance=7 * 86400)
    with pytest.raises(ChannelError) as caught:
        shop.channel.send(agent, late)
    assert caught.value.action == "window"


@pytest.mark.parametrize(
    ("kind", "action", "unknown"),
    [
        ("rate_limit", "retry", False),
        ("server_error", "retry", False),
        ("unavailable", "retry", False),
        ("server_error_html", "retry", True),
        ("drop_before_accept", "retry", True),
        ("drop_after_accept", "retry", True),
        ("expired_token", "account", False),
    ],
)
def test_trouble_is_told_apart(shop: Shop, kind: str, action: str, unknown: bool) -> None:
    provider = "facebook" if shop.account.config.get("page_id") == "111" else shop.kind
    shop.stage.control("faults", provider=provider, kind=kind)
    error = shop.refused(text="x")
    assert (error.action, error.unknown) == (action, unknown)


def test_the_echo_comes_even_where_the_answer_was_lost(shop: Shop) -> None:
    provider = "facebook" if shop.account.config.get("page_id") == "111" else shop.kind
    shop.stage.control("faults", provider=provider, kind="drop_after_accept")
    assert shop.refused(text="Did it go?").unknown
    assert shop.stage.wait(Inbound, lambda item: item.echo and item.text == "Did it go?")


@pytest.mark.parametrize(
    ("switch", "codes"),
    [("blocked", {"551/1545041"}), ("standby", {"10/2018300", "100/2534037"})],
)
def test_who_cannot_be_answered_is_told(shop: Shop, switch: str, codes: set[str]) -> None:
    shop.stage.control(f"{shop.kind}/people", account=shop.key, person=shop.person, **{switch: True})
    error = shop.refused(text="x")
    assert error.code in codes
    assert error.action == "permanent"


def test_nobody_is_made_up(shop: Shop) -> None:
    if shop.account.config.get("page_id") == "111" and shop.kind == "instagram":
        pytest.skip("The page then looks for them on Messenger")
    with pytest.raises(ChannelError, match="does not know this customer") as caught:
        shop.channel.send(shop.account, Outgoing("m", "999", text="x"))
    assert caught.value.permanent


def test_what_customers_do_to_messages_arrives(shop: Shop) -> None:
    (provider_id,) = shop.send(text="Yes")
    said = shop.say(text="Is it opne?")["message"]["id"]
    shop.say(reaction={"mid": provider_id, "emoji": "❤️"})
    shop.say(reaction={"mid": provider_id, "emoji": ""})
    shop.say(edit={"mid": said, "text": "Is it open?"})
    shop.say(delete={"mid": said})
    given = shop.stage.wait(Change, lambda item: item.emoji == "❤️")
    gone = shop.stage.wait(Change, lambda item: item.kind == "reaction" and item.emoji is None)
    edit = shop.stage.wait(Change, lambda item: item.kind == "edit")
    deletion = shop.stage.wait(Change, lambda item: item.kind == "delete")
    assert {given.target, gone.target} == {provider_id}
    assert (edit.target, edit.text, deletion.target) == (said, "Is it open?", said)
    assert next(one for one in shop.chat() if one["id"] == said)["deleted"]


def test_taps_links_stickers_and_the_unknown_arrive(shop: Shop) -> None:
    shop.say(postback={"title": "Opening hours", "payload": "HOURS"})
    shop.say(text="Yes", quick_reply={"payload": "OPEN"})
    shop.say(text="see https://ex.ie", link={"url": "https://l.facebook.com/l.php?u=https%3A%2F%2Fex.ie", "title": "E"})
    shop.say(sticker={"sticker_id": 369239263222822, "url": "https://scontent.xx.fbcdn.net/s.png"})
    shop.say(raw={"levitation": {"height": 2}})
    shop.say(attachments=[{"type": "hologram", "payload": {}}])
    shop.say(referral_event={"ref": "spring"})
    for text in ("Opening hours", "Yes", "see https://ex.ie", "👍", "[Unsupported message: hologram]"):
        assert shop.stage.wait(Inbound, lambda item, text=text: item.text == text)
    assert shop.stage.wait(AccountNotice).code == "levitation"
    assert shop.stage.wait(Inbound, lambda item: item.kind == "system").text.endswith("(spring).")


def test_the_owner_in_another_app_is_heard(shop: Shop) -> None:
    shop.say(echo=True, text="We open at nine")
    echo = shop.stage.wait(Inbound, lambda item: item.echo)
    where = "Facebook inbox" if shop.kind == "facebook" else "Instagram app"
    assert (echo.text, echo.extra["sent_from"], echo.person.address) == ("We open at nine", where, shop.person)


def test_another_apps_conversation_is_marked(shop: Shop) -> None:
    shop.say(text="Robot?", standby=True)
    assert shop.stage.wait(Inbound, lambda item: item.text == "Robot?").extra["standby"] is True


def test_stories_arrive_with_their_picture(shop: Shop) -> None:
    if shop.kind != "instagram":
        pytest.skip("Messenger has none")
    file = {"filename": "a.png", "mime": "image/png", "data": "iVBORw0KGgo="}
    shop.say(story_mention=True, file=file)
    shop.say(story_reply=True, text="love this", file=file)
    mention = shop.stage.wait(Inbound, lambda item: item.extra.get("story", {}).get("type") == "mention")
    reply = shop.stage.wait(Inbound, lambda item: item.text == "love this")
    for item in (mention, reply):
        assert item.kind == "story"
        assert shop.channel.fetch_media(shop.account, item.media[0], max_bytes=1000)[2] == "image.png"


def test_the_connection_can_be_tested_and_subscribed(shop: Shop) -> None:
    assert shop.channel.check(shop.account)["name"] == "Acme"
    shop.channel.subscribe(shop.account)
    (shown,) = [one for one in shop.stage.get(f"{shop.kind}/accounts")["accounts"] if shop.key in one.values()]
    assert "messages" in shown["fields"]
    shop.say(text="Still heard?")
    assert shop.stage.wait(Inbound, lambda item: item.text == "Still heard?")


def test_the_name_of_a_person_is_told_unless_they_hide_it(shop: Shop) -> None:
    person = shop.channel.profile(shop.account, shop.person)
    assert person.name == "Aoife Walsh"
    shop.stage.control(f"{shop.kind}/people", account=shop.key, person=shop.person, hides_name=True)
    with pytest.raises(ChannelError):
        shop.channel.profile(shop.account, shop.person)


def test_reading_is_shown_on_the_customers_phone(shop: Shop) -> None:
    shop.channel.mark_read(shop.account, shop.person, "")
    assert [one["status"] for one in shop.chat()] == ["read"]


def test_a_quote_is_shown_where_the_provider_takes_one(shop: Shop) -> None:
    greeting = shop.chat()[0]["id"]
    shop.send(text="this one", reply_to=greeting)
    assert shop.ours()[0].get("quoted") == (greeting if shop.kind == "facebook" else None)


def test_a_token_is_renewed_in_time_and_ends_otherwise(shop: Shop) -> None:
    if shop.account.config.get("login") != "instagram":
        assert shop.channel.refresh(shop.account) is None
        return
    shop.stage.control("clock", advance=30 * 86400)
    token = shop.channel.refresh(shop.account)
    renewed = Account("a", "b", "instagram", "", dict(shop.account.config) | dict(token.config))
    with pytest.raises(ChannelError):  # not twice a day
        shop.channel.refresh(renewed)
    shop.stage.control("clock", advance=59 * 86400)
    assert shop.channel.check(renewed)["name"] == "Acme"
    shop.stage.control("clock", advance=2 * 86400)
    with pytest.raises(ChannelError) as caught:
        shop.channel.check(renewed)
    assert (caught.value.code, caught.value.action) == ("190/463", "account")
