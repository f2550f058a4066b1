"""How a mail is shown: what was written, what was quoted, what to beware of, and its own pictures and no others."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

import worker
from channels.base import Callback
from models import Attachment, Business, ChannelAccount, Message, db
from services import channel_accounts, conversations, inbound
from tests.people import Somebody

_numbers = count(1)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MAIL = """From: Eve <eve@x.example>
Subject: Look
Message-ID: <{id}@x.example>
Auto-Submitted: auto-replied
Authentication-Results: mx.acme.ie; dmarc=fail
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html

<p>Here: <img src="cid:lamp&amp;1@x"><img src="cid:none@x"><img src="https://t.example/p.gif" onerror="alert(1)">
<a href="javascript:alert(1)">x</a></p><div class="gmail_quote">On Monday somebody wrote: old words</div>
--r
Content-Type: image/png; name=lamp.png
Content-ID: <lamp&1@x>
Content-Transfer-Encoding: base64

{png}
--r--
"""


@pytest.fixture
def message(acme: Business) -> Message:
    config = {"address": "support@acme.ie", "smtp_host": "smtp.acme.ie", "authserv_id": "mx.acme.ie"}
    account = channel_accounts.connect(acme, "email", "Support", config)
    return arrives(account, MAIL.format(id=next(_numbers), png=PNG).encode())


def arrives(account: ChannelAccount, raw: bytes) -> Message:
    headers = {"account": account.account_key, "authserv": "mx.acme.ie"}
    inbound.keep(account, Callback("IMAP", "imap://x", {}, {}, raw), headers=headers)
    db.session.commit()
    while worker.apply_due():  # whatever other tests left goes first
        pass
    for file in db.session.scalars(select(Attachment).where(Attachment.business_id == account.business_id)):
        worker.fetch_attachment(str(file.business_id), str(file.id))
    db.session.expire_all()
    return db.session.scalars(select(Message).where(Message.account_id == account.id)).one()


@pytest.fixture
def agent(app: Flask, bob: Somebody, message: Message) -> FlaskClient:
    client = app.test_client()
    page = client.get("/login").get_data(as_text=True)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token
    form = {"email": bob.email, "password": bob.password, "csrf_token": token[1]}
    assert client.post("/login", data=form).status_code in (302, 303)
    return client


def test_a_mail_shows_what_was_written_and_folds_what_was_quoted(
    agent: FlaskClient, acme: Business, message: Message
) -> None:
    conversation = conversations.get(acme, message.conversation_id)
    page = agent.get(f"/inbox/all/c/{conversation.number}").get_data(as_text=True)
    said, _, rest = page.partition("Show quoted text")
    assert "Here:" in said
    assert "old words" not in said.partition('class="mb"')[2]
    assert "old words" in rest
    assert all(word in page for word in ("Unverified sender", "Automatic"))


def test_the_original_shows_its_own_pictures_and_runs_nothing(agent: FlaskClient, message: Message) -> None:
    answer: Any = agent.get(f"/inbox/messages/{message.id}/original")
    page, policy = answer.get_data(as_text=True), answer.headers["Content-Security-Policy"]
    own = re.findall(r'<img src="([^"]+)"', page)
    assert "/api/download-media?id=" in own[0]
    assert "cid:" not in page
    assert "alert" not in page
    assert policy.startswith("sandbox")
    assert "https:" not in re.search(r"img-src ([^;]*)", policy)[1].split()  # type: ignore[index]
    picture = agent.get(own[0].replace("&amp;", "&").partition("localhost:8000")[2])
    assert (picture.status_code, picture.mimetype) == (200, "image/png")
