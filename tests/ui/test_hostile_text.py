"""H1: whatever a customer, a CRM or a colleague calls themselves, a screen shows it as text and runs none of it."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from flask import Flask

from blueprints import filters, fragments, times
from lib.ids import uuid7
from models import Business, Conversation, Customer, Message, User, db
from services import canned_replies
from tests.people import PASSWORD
from tests.ui import scene
from tests.ui.browser import Browser

CORPUS = (
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<svg/onload=alert(1)>",
    "<svg><script>alert&#40;1&#41;</script>",
    "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<details open ontoggle=alert(1)>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</template><img src=x onerror=alert(1)>",
    '" hx-get="/logout" hx-trigger="load',
    "' hx-on:load='alert(1)'",
    '" data-del data-into="body',
    "<div hx-get=/logout hx-trigger=load>",
    "{{ 7 * 7 }}{% raw %}${7*7}#{7*7}",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "\u202egnp.exe\u202c",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<!--<img src=--><img src=x onerror=alert(1)//>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<form action=//evil.example><button>",
    "`-alert(1)-`",
    '\\"; alert(1); //',
)
ALLOWED_SCHEMES = ("/", "#", "?", "http://", "https://", "mailto:")
PLACES = ("href", "src", "action", "formaction")


class Reader(HTMLParser):
    """Read a page as a browser does and note what would act."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.acting: list[str] = []
        self.hooks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and not given.get("src", "").startswith("/static/"):
            self.acting.append(f"<script {given}>")
        if tag in ("style", "base", "object", "embed") or (tag == "meta" and "http-equiv" in given):
            self.acting.append(f"<{tag} {given}>")
        for name, value in given.items():
            if name.startswith(("on", "hx-on")) or name == "style":
                self.acting.append(f"{tag} {name}={value}")
            if name in PLACES and value and not value.lower().startswith(ALLOWED_SCHEMES):
                self.acting.append(f"{tag} {name}={value}")
            if name in ("hx-get", "hx-post", "hx-trigger", "data-into", "data-del"):
                self.hooks.append(f"{name}={value}")


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.fixture
def made(in_app: Flask) -> scene.Scene:
    return scene.build()


def poison(made: scene.Scene, text: str) -> Conversation:
    """Write the text into every field that a screen shows."""
    conversation = db.session.get_one(Conversation, (made.business.id, made.joe.id))
    customer = db.session.get_one(Customer, (made.business.id, conversation.customer_id))
    customer.name = customer.first_name = customer.address = customer.notes = text
    customer.email, customer.phone, customer.whatsapp_number = text, text, text
    customer.external_ids, customer.custom_fields = {text: text}, {text: text, "nested": {text: [text]}}
    customer.tags = conversation.tags = [text]
    conversation.subject = conversation.preview = text
    for message in db.session.query(Message).filter_by(business_id=made.business.id, conversation_id=conversation.id):
        message.content = message.sender_name = text
        message.error = message.error_code = text if message.status == "failed" else None
        message.extra = {
            "subject": text,
            "reactions": {"customer": text},
            "location": {"name": text, "latitude": text, "longitude": text},
            "template": {"name": text},
            "html": text,
            "referral": {"headline": text, "source_url": f"https://x.example/{text}"},
            "error": {"text": text},
            "from": {"name": text, "address": text},
            "to": [{"name": text, "address": text}] * 4,
        }
        for file in message.attachments:
            file.filename = text
    tom = db.session.get_one(User, (made.business.id, made.tom.id))
    tom.name = text
    business = db.session.get_one(Business, made.business.id)
    business.name = business.crm_name = text
    business.crm_record_url = "javascript:alert('{external_id}')"
    canned_replies.create(business, shortcut=f"s{uuid7().hex[-12:]}", title=text, body=text)
    db.session.commit()
    return conversation


@pytest.mark.parametrize("text", [" ".join(CORPUS[start::7]) for start in range(7)])
def test_hostile_text_is_inert_on_every_screen(browser: Browser, made: scene.Scene, text: str) -> None:
    clean = Browser(browser.client.application)
    clean.sign_in(made.mary.email, PASSWORD)
    paths = [f"/inbox/mine/c/{made.joe.number}", "/inbox/all", "/settings/team", "/settings/api-access"]
    hooks = {path: sorted(read(clean.get(path).text).hooks) for path in paths}
    conversation = poison(made, text)
    menus = [f"/inbox/c/{made.joe.number}/{name}" for name in ("assign", "tags", "canned", "templates", "more")]
    searches = [f"/search?q={quote(text)}", f"/inbox/mine?q={quote(text + 'zzz')}"]
    editor = f"/inbox/customers/{conversation.customer_id}/edit?field=name"
    for path in (*paths, *menus, *searches, editor):
        answer = clean.get(path)
        assert answer.status_code == 200, path
        assert read(answer.text).acting == [], path
        if path in paths[1:]:
            assert sorted(read(answer.text).hooks) == hooks[path], "a field grew a hook"


def test_hostile_text_is_inert_in_the_live_stream(made: scene.Scene) -> None:
    conversation = db.session.get_one(Conversation, (made.business.id, made.joe.id))
    message = db.session.query(Message).filter_by(conversation_id=conversation.id).first()
    assert message is not None
    for text in CORPUS:
        poison(made, text)
        html = fragments.conversation(made.business, conversation) + fragments.render_message(message, conversation)
        reader = read(html + fragments.render_customer(made.business, conversation.customer))
        assert reader.acting == []
        assert not any(hook.startswith("data-del") for hook in reader.hooks)
        places = {hook for hook in reader.hooks if hook.startswith("data-into")}
        assert all(place == "data-into=#messages-2" or place.startswith("data-into=.rows[") for place in places)


def test_a_mail_is_shown_without_scripts_and_without_pictures_from_elsewhere(
    browser: Browser, made: scene.Scene
) -> None:
    message = db.session.query(Message).filter_by(conversation_id=made.joe.id).first()
    assert message is not None
    message.extra = {"html": '<p onclick=alert(1)>Hi<script>alert(1)</script><img src="https://spy.example/x.gif"></p>'}
    db.session.commit()
    browser.sign_in(made.mary.email)
    answer = browser.get(f"/inbox/messages/{message.id}/original")
    assert "alert" not in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox allow-popups;" in policy
    assert "https:" not in policy.partition("img-src")[2].partition(";")[0]
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    asked = browser.get(f"/inbox/messages/{message.id}/original?images=1")
    assert " https:;" in asked.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://acme.example/a?b=1&c=2.", 'href="https://acme.example/a?b=1&amp;c=2"'),
        ("(https://acme.example)", 'href="https://acme.example"'),
        ('https://acme.example/"onmouseover="alert(1)', 'href="https://acme.example/"'),
        ("HTTPS://ACME.EXAMPLE", 'href="HTTPS://ACME.EXAMPLE"'),
    ],
)
def test_web_addresses_become_links_that_tell_nothing(text: str, shown: str) -> None:
    html = str(filters.linkify(text))
    assert shown in html
    assert 'rel="noopener noreferrer nofollow"' in html
    assert read(html).acting == []


@pytest.mark.parametrize("text", ["javascript:alert(1)", "ftp://x", "www.example.com", "a@b.example", "https://"])
def test_nothing_else_becomes_a_link(text: str) -> None:
    assert "<a" not in str(filters.linkify(text))


def test_a_record_link_is_made_only_of_a_web_address(in_app: Flask) -> None:
    business = Business(name="x", crm_record_url="https://crm.example/{external_id}/view")
    assert filters.record_link(business, "a/b?c") == "https://crm.example/a%2Fb%3Fc/view"
    business.crm_record_url = "javascript:alert('{external_id}')"
    assert filters.record_link(business, "x") is None


def test_an_unknown_time_zone_is_utc() -> None:
    assert times.zone("Not/AZone").key == times.zone("../../etc/passwd").key == "UTC"
