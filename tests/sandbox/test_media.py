"""Media: upload with its limits, the two steps of a download, and files that do not fit their message."""

import base64
import hashlib

JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 50


def test_an_upload_needs_its_product_its_type_and_its_file(number):
    assert number.upload(JPEG, messaging_product="")[1]["error"]["code"] == 100
    assert "type is required" in number.upload(JPEG, type="")[1]["error"]["message"]
    path = f"{number.id}/media"
    assert (
        "file"
        in number.graph("POST", path, fields={"messaging_product": "whatsapp", "type": "x"})[1]["error"]["message"]
    )
    assert number.graph("POST", path, {"messaging_product": "whatsapp"})[1]["error"]["code"] == 100


def test_types_that_whatsapp_does_not_know_are_refused(number):
    for mime in ("image/gif", "application/zip", "application/octet-stream", "image/svg+xml", "text/html"):
        status, answer = number.upload(b"x", mime, "a.bin")
        assert (status, answer["error"]["code"]) == (400, 100), mime
        assert f"Received file of type '{mime}'" in answer["error"]["message"]


def test_sizes_end_at_the_documented_limit(number):
    assert number.upload(JPEG.ljust(5 * 1024 * 1024, b"x"))[0] == 200
    assert number.upload(JPEG.ljust(5 * 1024 * 1024 + 1, b"x"))[1]["error"]["code"] == 131053
    assert number.upload(b"RIFF".ljust(500 * 1024 + 1), "image/webp", "s.webp")[1]["error"]["code"] == 131053
    assert number.upload(b"")[1]["error"]["code"] == 131053


def test_an_upload_is_downloaded_in_two_steps_with_the_same_token(number, box):
    id_ = number.upload(JPEG)[1]["id"]
    status, answer = number.graph("GET", f"{id_}?phone_number_id={number.id}")
    assert status == 200
    assert answer["mime_type"] == "image/jpeg"
    assert answer["sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert answer["file_size"] == len(JPEG)
    assert answer["url"].startswith(box.url)
    bearer = {"Authorization": f"Bearer {number.token}", "User-Agent": "test"}
    assert box.call("GET", answer["url"], headers=bearer) == (200, JPEG)
    assert box.call("GET", answer["url"], headers={"User-Agent": "test"})[0] == 401
    assert box.call("GET", answer["url"], headers={**bearer, "Authorization": "Bearer EAA-other"})[0] == 401
    assert box.call("GET", answer["url"] + "0", headers=bearer)[0] == 404
    status, page = box.call("GET", answer["url"], headers={**bearer, "User-Agent": ""})
    assert status == 400
    assert b"<html>" in page


def test_a_download_url_dies_after_five_minutes(number, box):
    id_ = number.upload(JPEG)[1]["id"]
    url = number.graph("GET", id_)[1]["url"]
    bearer = {"Authorization": f"Bearer {number.token}", "User-Agent": "test"}
    try:
        box.control("clock", {"advance": 299})
        assert box.call("GET", url, headers=bearer)[0] == 200
        box.control("clock", {"advance": 2})
        assert box.call("GET", url, headers=bearer)[0] == 404
        fresh = number.graph("GET", id_)[1]["url"]
        assert box.call("GET", fresh, headers=bearer)[0] == 200
    finally:
        box.control("clock", {"offset": 0})


def test_media_of_a_callback_dies_after_seven_days(number, box):
    said = number.say("", file={"filename": "a.jpg", "data": base64.b64encode(JPEG).decode()})
    id_ = said["item"]["image"]["id"]
    assert number.graph("GET", id_)[0] == 200
    try:
        box.control("clock", {"advance": 7 * 86400 + 1})
        assert number.graph("GET", id_)[1]["error"]["error_subcode"] == 33
    finally:
        box.control("clock", {"offset": 0})


def test_media_belongs_to_its_number(declare):
    number, other = declare(), declare()
    id_ = number.upload(JPEG)[1]["id"]
    assert other.graph("GET", id_)[1]["error"]["code"] == 100
    assert number.graph("GET", f"{id_}?phone_number_id={other.id}")[1]["error"]["code"] == 100
    answer = other.send(type="image", image={"id": id_})[1]
    assert "not a valid whatsapp business account media" in answer["error"]["message"]


def test_a_file_that_does_not_fit_its_message_fails_later(number):
    number.say()
    pdf = number.upload(b"%PDF-1.7", "application/pdf", "a.pdf")[1]["id"]
    fake = number.upload(b"not a picture", "image/png", "a.png")[1]["id"]
    assert number.send(type="image", image={"id": pdf})[0] == 200
    assert number.send(type="image", image={"id": fake})[0] == 200
    errors = [one["errors"][0] for one in number.receiver.statuses(2)]
    assert [one["code"] for one in errors] == [131053, 131053]
    assert "application/pdf" in errors[0]["error_data"]["details"]
    assert "its bytes say otherwise" in errors[1]["error_data"]["details"]
    assert (
        number.send(type="document", document={"id": pdf, "filename": "Réceipt #1.pdf", "caption": "Yours"})[0] == 200
    )
    number.receiver.statuses(4)
    shown = number.chat()[-1]
    assert shown["media"]["filename"] == "Réceipt #1.pdf"
    assert shown["text"] == "Yours"
    assert number.box.call("GET", shown["media"]["url"]) == (200, b"%PDF-1.7")


def test_a_link_is_fetched_and_a_dead_one_fails_later(number, box):
    number.say()
    number.send(type="image", image={"link": "http://127.0.0.1:9/a.jpg"})
    failed = number.receiver.statuses(1)[0]["errors"][0]
    assert failed["code"] == 131053
    assert "weblink" in failed["error_data"]["details"]


def test_a_deleted_file_is_gone(number):
    id_ = number.upload(JPEG)[1]["id"]
    assert number.graph("DELETE", id_) == (200, {"success": True})
    assert number.graph("GET", id_)[1]["error"]["error_subcode"] == 33
