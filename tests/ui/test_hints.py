"""What a message says besides its words is on the screen: read as its provider sends it, shown as an agent sees it."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

import channels
from channels.base import IdentityChange, Inbound
from models import Business, ChannelAccount, Conversation, Message, db
from services import arrivals, channel_accounts
from tests.channels import kinds
from tests.people import Somebody
from tests.ui.browser import Browser

AOIFE = "353871234567"


class Desk:
    """An agent before the thread of whoever writes."""

    def __init__(self, business: Business, browser: Browser) -> None:
        self.business, self.browser = business, browser
        self.accounts: dict[str, ChannelAccount] = {}

    def takes(self, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Apply what a provider sends, item by item."""
        if kind not in self.accounts:
            given = dict(kinds.PROVIDERS[kind].config)
            self.accounts[kind] = channel_accounts.connect(self.business, kind, "Acme", given)
        for item in channels.get(kind).parse(kinds.callback(kind, body, headers=headers)):
            if isinstance(item, Inbound):
                arrivals.receive(self.business, self.accounts[kind], item)
            elif isinstance(item, IdentityChange):
                arrivals.rename(self.business, self.accounts[kind], item)
            db.session.commit()

    def whatsapp(self, id_: str = "wamid.1", **message: Any) -> None:
        value = {
            "metadata": {"phone_number_id": "5550001"},
            "contacts": [{"profile": {"name": "Aoife"}, "wa_id": AOIFE}],
            "messages": [{"from": AOIFE, "id": id_, "timestamp": "1764000000", "type": "text"} | message],
        }
        entry = {"id": "9001", "changes": [{"field": "messages", "value": value}]}
        self.takes("whatsapp", kinds.as_meta_writes({"object": "whatsapp_business_account", "entry": [entry]}))

    def meta(self, kind: str, *, at: str = "messaging", **message: Any) -> None:
        name, owner = ("page", "111") if kind == "facebook" else ("instagram", "17841400000000000")
        item = {"sender": {"id": "222"}, "recipient": {"id": owner}, "timestamp": 1764000000000}
        entry = {"id": owner, at: [item | {"message": {"mid": "m_1"} | message}]}
        self.takes(kind, kinds.as_meta_writes({"object": name, "entry": [entry]}))

    def mail(self, head: str) -> None:
        raw = f"Subject: Order 17\nMessage-ID: <1@x.example>\n{head}\n\nHello\n".encode()
        self.takes("email", raw, {"account": "support@acme.ie", "authserv": ""})

    def thread(self) -> str:
        """Give the latest thread, as markup."""
        query = db.session.query(Conversation).filter_by(business_id=self.business.id)
        place = query.order_by(Conversation.last_message_at.desc()).first()
        assert place is not None
        return self.browser.get(f"/inbox/all/c/{place.number}").text

    def hints(self) -> list[str]:
        """Give the quiet lines of the thread."""
        found = re.findall(r'<div class="hints">(.*?)</div>', self.thread(), re.DOTALL)
        return [line for block in found for line in plain(block).splitlines()]


def plain(markup: str) -> str:
    """Give what a person reads."""
    lines = (html.unescape(re.sub(r"<[^>]+>", "", line)).strip() for line in markup.splitlines())
    return "\n".join(line for line in lines if line)


@pytest.fixture
def desk(acme: Business, bob: Somebody, browser: Browser) -> Desk:
    browser.sign_in(bob.email)
    return Desk(acme, browser)


TEXT = {"text": {"body": "Hello"}}


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        pytest.param(
            {"context": {"from": "35316000000", "id": "wamid.UNKNOWN"}},
            "Answers an earlier message: original unavailable",
            id="an answer to what we never had",
        ),
        pytest.param({"context": {"forwarded": True}}, "Forwarded", id="forwarded"),
        pytest.param({"context": {"frequently_forwarded": True}}, "Forwarded many times", id="often forwarded"),
        pytest.param(
            {"referral": {"source_type": "ad", "headline": "Spring  sale", "source_url": "https://fb.me/1"}},
            "Came from the ad “Spring sale”",
            id="from an advertisement",
        ),
        pytest.param({"referral": {"source_type": "post"}}, "Came from a post", id="from a post"),
        pytest.param(
            {"context": {"id": "", "referred_product": {"product_retailer_id": "LAMP-7"}}},
            "Asks about the product LAMP-7",
            id="about a product",
        ),
    ],
)
def test_what_whatsapp_tells_of_a_message_is_shown(desk: Desk, message: dict[str, Any], hint: str) -> None:
    desk.whatsapp(**TEXT, **message)
    assert desk.hints() == [hint]


def test_an_answer_to_what_we_have_shows_that_and_no_more(desk: Desk) -> None:
    desk.whatsapp(**TEXT)
    desk.whatsapp("wamid.2", context={"id": "wamid.1"}, **TEXT)
    assert desk.hints() == []
    assert 'class="reply-to"' in desk.thread()


def test_an_advertisement_can_be_looked_at_and_no_other_address(desk: Desk) -> None:
    desk.whatsapp(**TEXT, referral={"source_type": "ad", "source_url": "https://fb.me/1"})
    assert 'href="https://fb.me/1"' in desk.thread()
    desk.whatsapp("wamid.2", **TEXT, referral={"source_type": "ad", "source_url": "javascript:alert(1)"})
    assert "javascript:alert" not in desk.thread()


@pytest.mark.parametrize(
    ("code", "reason"),
    [(131052, "WhatsApp could not fetch this file."), (131051, "WhatsApp does not support this type of message.")],
)
def test_a_file_that_whatsapp_lost_says_why(desk: Desk, code: int, reason: str) -> None:
    desk.whatsapp(type="image", errors=[{"code": code, "title": "Media download error"}])
    assert desk.hints() == [reason]
    assert "[Unsupported message: image]" in desk.thread()


def test_a_number_that_changed_is_told_once(desk: Desk) -> None:
    desk.whatsapp(**TEXT)
    said = f"User Aoife changed from {AOIFE} to 353879999999"
    change = {"type": "user_changed_number", "body": said, "wa_id": "353879999999"}
    for _ in range(2):
        desk.whatsapp("wamid.2", type="system", system=change)
    assert plain(desk.thread()).count(said) == 1
    (told,) = db.session.query(Message).filter_by(business_id=desk.business.id, kind="system")
    assert (told.direction, told.content) == ("inbound", said)


def test_a_number_that_somebody_else_has_is_told_too(desk: Desk) -> None:
    desk.whatsapp(**TEXT)
    desk.whatsapp("wamid.2", **{"from": "353879999999"}, **TEXT)
    said = f"User Aoife changed from {AOIFE} to 353879999999"
    change = {"type": "user_changed_number", "body": said, "wa_id": "353879999999"}
    desk.whatsapp("wamid.3", type="system", system=change)
    (told,) = db.session.query(Message).filter_by(business_id=desk.business.id, kind="system")
    place = db.session.get_one(Conversation, (desk.business.id, told.conversation_id))
    assert (told.content, place.address) == (said, AOIFE)


@pytest.mark.parametrize(
    ("story", "hint"),
    [
        pytest.param({"id": "9", "url": "https://lookaside.fbsbx.com/s"}, "Replied to your story", id="one to see"),
        pytest.param({"id": "9"}, "Replied to your story, which is no longer available", id="one that is gone"),
    ],
)
def test_an_answer_to_a_story_is_no_picture_of_the_customers(desk: Desk, story: dict[str, str], hint: str) -> None:
    desk.meta("instagram", text="Love this", reply_to={"story": story})
    assert desk.hints() == [hint]


@pytest.mark.parametrize(
    ("referral", "hint"),
    [
        pytest.param(
            {"source": "ADS", "ad_id": "7", "ads_context_data": {"ad_title": "Boots"}},
            "Came from the ad “Boots”",
            id="an advertisement",
        ),
        pytest.param({"source": "SHORTLINK", "ref": "flyer"}, "Came by a link (flyer)", id="a link"),
    ],
)
def test_the_way_that_led_to_messenger_is_shown(desk: Desk, referral: dict[str, Any], hint: str) -> None:
    desk.meta("facebook", text="Hi", referral=referral)
    assert desk.hints() == [hint]


def test_a_conversation_that_another_app_holds_says_so(desk: Desk) -> None:
    desk.meta("facebook", at="standby", text="Hi")
    assert desk.hints() == ["Another app holds this conversation, so an answer may be refused"]


def test_what_the_customer_took_back_leaves_no_hint(desk: Desk) -> None:
    desk.whatsapp(**TEXT, context={"forwarded": True})
    message = db.session.query(Message).filter_by(business_id=desk.business.id).one()
    message.deleted_at, message.content = message.created_at, ""
    db.session.commit()
    assert desk.hints() == []


def test_a_mail_shows_from_whom_to_whom_and_who_reads_along(desk: Desk) -> None:
    desk.mail("From: Joe <joe@x.example>\nTo: support@acme.ie, Ann <ann@x.example>\nCc: boss@x.example")
    lines = re.findall(r'<span class="ppl">(.*?)\n', desk.thread())
    assert [plain(line) for line in lines] == [
        "FromJoe <joe@x.example>",
        "Tosupport@acme.ie, Ann <ann@x.example>",
        "Ccboss@x.example",
    ]


def test_many_recipients_are_folded(desk: Desk) -> None:
    many = ", ".join(f"p{number}@x.example" for number in range(60))
    desk.mail(f"From: joe@x.example\nTo: {many}")
    shown, _, folded = desk.thread().partition("<summary>and 57 more</summary>")
    assert "p2@x.example" in shown
    assert "p3@x.example" not in shown
    assert "p59@x.example" in folded


def test_a_form_that_writes_for_somebody_says_whom_an_answer_goes_to(desk: Desk) -> None:
    desk.mail("From: noreply@shop.example\nReply-To: Ann <ann@x.example>\nTo: support@acme.ie")
    assert "Reply toann@x.example" in plain(desk.thread())


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param("STOP", "Asked for no more messages", id="stop"),
        pytest.param("START", "Asked to get messages again", id="start"),
    ],
)
def test_a_wish_of_the_customer_is_marked(desk: Desk, text: str, hint: str) -> None:
    form = {"MessageSid": f"SM{1:032}", "From": f"+{AOIFE}", "To": "+353861111111", "Body": text}
    desk.takes("sms", kinds.as_twilio_writes(form))
    assert desk.hints() == [hint]


def test_hints_of_strangers_are_never_taken_for_what_they_should_be(desk: Desk) -> None:
    desk.whatsapp(**TEXT)
    message = db.session.query(Message).filter_by(business_id=desk.business.id).one()
    for odd in ("text", 7, ["x"], {"headline": ["x"], "type": 1, "text": {"a": 1}, "source_url": 1}):
        message.extra = dict.fromkeys(("referral", "story", "quoted", "error", "from", "to", "cc", "group"), odd)
        message.channel = "email" if odd == 7 else "whatsapp"
        db.session.commit()
        assert "Hello" in desk.thread()
