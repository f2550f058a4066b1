"""F1, F2 and F4: what may be uploaded, how it comes back, and who may have it."""

from __future__ import annotations

import re
import struct
import time
import zlib
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select

from lib import signing
from lib.ids import uuid7
from models import Attachment, Business, db
from tests import factories
from tests.factories import Api
from tests.people import Somebody

MIB = 1024 * 1024
FORM = {"Content-Type": "multipart/form-data; boundary=XX"}
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"
    + struct.pack(">I", zlib.crc32(b"IHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"))
    + b"\0\0\0\0IEND\xaeB`\x82"
)


def upload(api: Api, data: bytes, filename: str, kind: str = "") -> Any:
    declared = f"Content-Type: {kind}\r\n" if kind else ""
    head = f'--XX\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n{declared}\r\n'
    return api.call("POST", "/api-upload-attachment", data=head.encode() + data + b"\r\n--XX--\r\n", headers=FORM)


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def test_an_empty_file_without_a_type_is_typed_by_its_name(api: Api) -> None:
    answer = upload(api, b"", "receipt.pdf")
    shown = answer.json["attachment"]
    assert answer.status_code == 201
    assert answer.json["success"] is True
    assert (shown["filename"], shown["type"], shown["size"]) == ("receipt.pdf", "application/pdf", 0)


def test_ten_megabytes_fit_and_one_byte_more_does_not(api: Api, acme: Business) -> None:
    fits = upload(api, b"x" * 10 * MIB, "big.txt")
    assert (fits.status_code, fits.json["attachment"]["size"]) == (201, 10 * MIB)
    over = upload(api, b"x" * (10 * MIB + 1), "big.txt")
    assert (over.status_code, over.json["error"]["code"]) == (413, "too_large")
    assert upload(api, b"x" * (11 * MIB), "big.txt").status_code == 413
    assert db.session.scalar(select(func.count()).where(Attachment.business_id == acme.id)) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the parser drops what it began
def test_a_length_that_lies_is_refused(api: Api) -> None:
    body = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--XX--\r\n'
    for said, status in ((len(body) + 50, 400), (60, 422), (10**12, 413), (-1, 422), ("x", 422)):
        answer = api.call(
            "POST",
            "/api-upload-attachment",
            data=body,
            headers=FORM,
            environ_overrides={"CONTENT_LENGTH": str(said)},
        )
        assert answer.status_code == status, (said, answer.text)


def test_ten_thousand_parts_are_refused(api: Api) -> None:
    part = b'--XX\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nx\r\n'
    body = b"".join(part % number for number in range(10_000)) + b"--XX--\r\n"
    answer = api.call("POST", "/api-upload-attachment", data=body, headers=FORM)
    assert answer.status_code == 413


def test_a_form_without_a_file_says_where_it_belongs(api: Api) -> None:
    for form in ({}, {"file": "text"}, {"other": (BytesIO(b"x"), "a.txt")}, {"file": (BytesIO(b"x"), "")}):
        answer = api.call("POST", "/api-upload-attachment", data=form, content_type="multipart/form-data")
        assert (answer.status_code, answer.json["error"]["field"]) == (422, "file")
    assert api.post("/api-upload-attachment", {"file": "x"}).status_code == 415
    assert api.call("POST", "/api-upload-attachment", data=b"x").status_code == 415
    broken = {"Content-Type": "multipart/form-data"}
    assert api.call("POST", "/api-upload-attachment", data=b"x", headers=broken).status_code in (400, 422)


@pytest.mark.parametrize(
    ("filename", "data"),
    [
        ("photo.png", b"%PDF-1.7 not a picture"),
        ("paper.pdf", PNG),
        ("photo.jpg", b"<script>alert(1)</script>"),
        ("photo.png", PNG + b"<script>alert(1)</script>"),
        ("sound.mp3", b"MZ\x90\0 a program"),
        ("page.html", b"<h1>hi</h1>"),
        ("picture.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("feed.xml", b"<?xml version='1.0'?><a/>"),
        ("run.exe", b"MZ"),
        ("script.js", b"alert(1)"),
        ("noextension", b"\x7fELF"),
    ],
)
def test_bytes_that_contradict_the_name_and_types_that_run_are_415(filename: str, data: bytes, api: Api) -> None:
    answer = upload(api, data, filename)
    assert (answer.status_code, answer.json["error"]["field"]) == (415, "file")


def test_a_declared_type_changes_nothing(api: Api) -> None:
    shown = upload(api, b"hello", "note.txt", "text/html").json["attachment"]
    assert shown["type"] == "text/plain"
    assert upload(api, b"<script>", "x.html", "image/png").status_code == 415


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:/a/b.txt", "b.txt"),
        ("a\u202egnp.txt", "agnp.txt"),
        ("é.txt", "é.txt"),
    ],
)
def test_a_name_is_only_a_name(sent: str, kept: str, api: Api) -> None:
    assert upload(api, b"x", sent).json["attachment"]["filename"] == kept


# --- downloads ---


def test_a_signed_link_opens_without_a_header_and_gives_the_very_bytes(api: Api, app: Flask) -> None:
    data = b"hello\r\n" * 100_000
    shown = upload(api, data, "räkning 1.txt").json["attachment"]
    answer = Api(app, None).client.get(path_of(shown["download_url"]))
    assert (answer.status_code, answer.data) == (200, data)
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    disposition = answer.headers["Content-Disposition"]
    assert re.fullmatch(r"attachment; filename=\"rakning 1.txt\"; filename\*=UTF-8''r%C3%A4kning%201.txt", disposition)


def test_only_true_pictures_are_shown_in_place(api: Api, app: Flask, acme: Business) -> None:
    """F2: also when the database says otherwise."""
    shown = upload(api, PNG, "dot.png").json["attachment"]
    link = path_of(shown["download_url"])
    answer = Api(app, None).client.get(link)
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert answer.headers["Content-Type"] == "image/png"
    text = upload(api, b"<script>alert(1)</script>", "note.txt")
    assert text.status_code == 415
    note = upload(api, b"x <script>alert(1)</script>", "note.txt").json["attachment"]
    row = db.session.get_one(Attachment, (acme.id, note["id"]))
    for kind in ("image/png", "image/svg+xml", "text/html", "application/xhtml+xml", "text/xml; x", "bad\r\nX-A: 1"):
        row.mime = kind
        db.session.commit()
        answer = Api(app, None).client.get(path_of(note["download_url"]))
        assert answer.headers["Content-Disposition"].startswith("attachment"), kind
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "html" not in answer.headers["Content-Type"]
        assert "svg" not in answer.headers["Content-Type"]
        assert "X-A" not in answer.headers


def test_a_bare_id_wants_a_key_or_a_session_of_the_business(
    api: Api, stranger: Api, app: Flask, acme: Business
) -> None:
    shown = upload(api, b"secret", "note.txt").json["attachment"]
    path = path_of(shown["file_url"])

    def get(key: str | None) -> Any:
        return Api(app, None).client.get(path, headers={"x-api-key": key} if key else {})

    assert get(None).status_code == 401
    assert get(api.key).data == b"secret"
    assert get(factories.api_key(acme, "messages:read")).status_code == 200
    assert get(factories.api_key(acme, "customers")).status_code == 403
    foreign, nowhere = (
        get(stranger.key),
        stranger.client.get(f"/api/download-media?id={uuid7()}", headers={"x-api-key": stranger.key or ""}),
    )
    assert (foreign.status_code, nowhere.status_code) == (404, 404)
    assert foreign.json["error"] == nowhere.json["error"]


def test_a_forged_or_expired_link_is_403_with_a_sentence(api: Api, app: Flask, settings: Any) -> None:
    """F4."""
    shown = upload(api, b"secret", "note.txt").json["attachment"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(shown["download_url"]).query).items()}
    client = Api(app, None).client
    other = upload(api, b"other", "note.txt").json["attachment"]
    forged = [
        query | {"sig": "A" * 43},
        query | {"sig": ""},
        query | {"sig": query["sig"] + "="},
        query | {"sig": query["sig"][:-1]},
        query | {"sig": "é"},
        query | {"exp": str(int(query["exp"]) + 1)},
        query | {"exp": "9" * 400},
        query | {"exp": ""},
        query | {"id": other["id"]},
        query | {"id": query["id"].upper()},
        query | {"id": "\0"},
        {"sig": query["sig"]},
    ]
    for item in forged:
        answer = client.get("/api/download-media", query_string=item)
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "invalid_link"), item
    wrong = signing.link_signature(signing.derive(settings.secret_key, "embed token"), query["id"], query["exp"])
    assert client.get("/api/download-media", query_string=query | {"sig": wrong}).status_code == 403
    with time_machine.travel(int(query["exp"]) + 1):
        answer = client.get("/api/download-media", query_string=query)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "expired_link")
    assert answer.json["error"]["message"].endswith(".")


def test_a_person_with_an_old_link_sees_a_page_and_no_json(app: Flask) -> None:
    link = "/api/download-media?id=x&exp=1&sig=x"
    answer = Api(app, None).client.get(link, headers={"Accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert "not valid" in answer.text


def test_links_live_a_week_and_agree_within_an_hour(api: Api) -> None:
    with time_machine.travel("2026-03-01T10:10:00Z", tick=False):
        shown = upload(api, b"x", "note.txt").json["attachment"]
        expires = int(parse_qs(urlsplit(shown["download_url"]).query)["exp"][0])
        assert 7 * 86_400 <= expires - time.time() <= 7 * 86_400 + 3600


def test_an_upload_is_sent_by_url_or_id_and_copied_when_it_is_sent_again(api: Api, acme: Business) -> None:
    account = factories.whatsapp(acme)
    first = factories.received(acme, account)
    second = factories.received(acme, account, number="353870000001")
    shown = upload(api, PNG, "dot.png").json["attachment"]
    sent = []
    for customer, reference in (
        (first.customer_id, shown["file_url"]),
        (second.customer_id, shown["id"]),
        (first.customer_id, shown["download_url"]),
    ):
        body = {"customer_id": str(customer), "channel": "whatsapp", "content": "", "attachments": [reference]}
        answer = api.post("/api-send-message", body)
        assert answer.status_code == 202, answer.text
        sent.append(answer.json["message"]["attachments"][0])
    assert sent[0]["id"] == shown["id"]
    assert len({item["id"] for item in sent}) == 3
    keys = db.session.scalars(select(Attachment.storage_key).where(Attachment.business_id == acme.id)).all()
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example/api/download-media?id={id}",
        "http://localhost:8000/other?id={id}",
        "http://localhost:8000/api/download-media",
        "file:///etc/passwd",
        "http://[::1",
        "{random}",
        "",
        "x",
    ],
)
def test_nothing_but_uploads_of_this_business_can_be_attached(reference: str, api: Api, acme: Business) -> None:
    message = factories.received(acme, factories.whatsapp(acme))
    shown = upload(api, b"x", "note.txt").json["attachment"]
    body = {
        "customer_id": str(message.customer_id),
        "channel": "whatsapp",
        "content": "Hi",
        "attachments": [shown["id"], reference.format(id=shown["id"], random=uuid7())],
    }
    answer = api.post("/api-send-message", body)
    assert (answer.status_code, answer.json["error"]["field"]) == (422, "attachments[1]")


def test_a_file_that_the_store_lost_is_404_and_a_store_that_is_away_503(
    api: Api, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = upload(api, b"x", "note.txt").json["attachment"]
    row = db.session.scalars(select(Attachment).where(Attachment.id == shown["id"])).one()
    store = app.extensions["storage"]
    store.delete([row.storage_key])
    client = Api(app, None).client
    assert client.get(path_of(shown["download_url"])).status_code == 404
    monkeypatch.setattr("lib.storage._aside", _full)
    assert client.get(path_of(shown["download_url"])).status_code == 404
    full = upload(api, b"x", "note.txt")
    assert (full.status_code, full.headers["Retry-After"]) == (503, "5")
    row.storage_key = None
    db.session.commit()
    assert client.get(path_of(shown["download_url"])).json["error"]["code"] == "attachment_not_ready"


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_files_of_an_erased_customer_are_gone_at_once(api: Api, app: Flask, acme: Business) -> None:
    """F7."""
    message = factories.received(acme, factories.whatsapp(acme))
    shown = upload(api, b"secret", "note.txt").json["attachment"]
    body = {"customer_id": str(message.customer_id), "channel": "whatsapp", "attachments": [shown["id"]]}
    assert api.post("/api-send-message", body).status_code == 202
    assert Api(app, None).client.get(path_of(shown["download_url"])).data == b"secret"
    assert api.delete("/api-customers", id=message.customer_id).status_code == 200
    for path, headers in ((path_of(shown["download_url"]), {}), (path_of(shown["file_url"]), {"x-api-key": api.key})):
        assert Api(app, None).client.get(path, headers=headers).status_code == 404
    assert api.post("/api-send-message", body).status_code == 404


def test_a_session_of_the_business_may_download_too(app: Flask, api: Api, bob: Somebody, charlie: Somebody) -> None:
    path = path_of(upload(api, b"secret", "note.txt").json["attachment"]["file_url"])
    for person, status in ((bob, 200), (charlie, 404)):
        client = Api(app, None).client
        with client.session_transaction() as session:
            session["_user_id"], session["_fresh"] = person.user.get_id(), True
        assert client.get(path).status_code == status
