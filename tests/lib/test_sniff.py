"""Files by their bytes: what agrees with its name, what does not, and what must never be called an image."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from lib import sniff


def zipped(*names: str, first: tuple[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if first:
            archive.writestr(zipfile.ZipInfo(first[0]), first[1])
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "<?xml version='1.0'?><a/>")
    return file.getvalue()


ODT = "application/vnd.oasis.opendocument.text"
OOXML = "application/vnd.openxmlformats-officedocument."
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + bytes(40)
GIF = b"GIF89a\x01\0\x01\0\x80\0\0"
WEBP = b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0"


def iso(brand: bytes, *others: bytes) -> bytes:
    return b"\0\0\0\x20ftyp" + brand + b"\0\0\x02\0" + b"".join(others) + b"\0\0\0\x08free"


def ebml(kind: bytes) -> bytes:
    return b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84" + kind + bytes(40)


GENUINE = [
    (PNG, "a.png", "image/png"),
    (JPEG, "a.jpg", "image/jpeg"),
    (JPEG, "A.JPEG", "image/jpeg"),
    (GIF, "a.gif", "image/gif"),
    (WEBP, "a.webp", "image/webp"),
    (iso(b"heic", b"mif1", b"heic"), "a.heic", "image/heic"),
    (iso(b"mif1", b"mif1", b"heic"), "a.heif", "image/heic"),
    (iso(b"avif", b"mif1"), "a.avif", "image/avif"),
    (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "a.bmp", "image/bmp"),
    (b"II*\0\x08\0\0\0", "a.tiff", "image/tiff"),
    (b"ID3\x03\0\0\0\0\0\0", "a.mp3", "audio/mpeg"),
    (b"\xff\xfb\x90\x00" + bytes(8), "a.mp3", "audio/mpeg"),
    (b"\xff\xf3\x90\x00" + bytes(8), "a.mp3", "audio/mpeg"),
    (b"\xff\xf1\x50\x80" + bytes(8), "a.aac", "audio/aac"),
    (b"\xff\xf9\x50\x80" + bytes(8), "a.aac", "audio/aac"),
    (b"#!AMR\n" + bytes(32), "voice.amr", "audio/amr"),
    (b"#!AMR-WB\n" + bytes(32), "voice.amr", "audio/amr"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead", "a.ogg", "audio/ogg"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead", "a.opus", "audio/ogg"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x2a\x80theora", "a.ogv", "video/ogg"),
    (iso(b"M4A "), "a.m4a", "audio/mp4"),
    (iso(b"isom"), "recorder.m4a", "audio/mp4"),
    (b"RIFF\x24\0\0\0WAVEfmt ", "a.wav", "audio/wav"),
    (b"fLaC\0\0\0\x22", "a.flac", "audio/flac"),
    (iso(b"isom", b"iso2", b"mp41"), "a.mp4", "video/mp4"),
    (iso(b"mp42"), "a.mp4", "video/mp4"),
    (iso(b"3gp4"), "a.3gp", "video/3gpp"),
    (iso(b"qt  "), "a.mov", "video/quicktime"),
    (b"\0\0\0\x08wide\0\0\x10\0mdat", "old.mov", "video/quicktime"),
    (ebml(b"webm"), "a.webm", "video/webm"),
    (ebml(b"webm"), "voice.weba", "audio/webm"),
    (ebml(b"matroska"), "a.mkv", "video/x-matroska"),
    (b"%PDF-1.7\n", "a.pdf", "application/pdf"),
    (b"\xef\xbb\xbf\n%PDF-1.4\n\x00\xff", "late.pdf", "application/pdf"),
    (OLE, "a.doc", "application/msword"),
    (OLE, "a.xls", "application/vnd.ms-excel"),
    (OLE, "a.ppt", "application/vnd.ms-powerpoint"),
    (b"{\\rtf1\\ansi}", "a.doc", "application/msword"),
    (b"{\\rtf1\\ansi}", "a.rtf", "application/rtf"),
    (zipped("[Content_Types].xml", "word/document.xml"), "a.docx", OOXML + "wordprocessingml.document"),
    (zipped("[Content_Types].xml", "xl/workbook.xml"), "a.xlsx", OOXML + "spreadsheetml.sheet"),
    (zipped("[Content_Types].xml", "ppt/presentation.xml"), "a.pptx", OOXML + "presentationml.presentation"),
    (OLE + "EncryptedPackage".encode("utf-16-le"), "locked.docx", OOXML + "wordprocessingml.document"),
    (zipped("content.xml", first=("mimetype", ODT)), "a.odt", ODT),
    (zipped("a.txt"), "a.zip", "application/zip"),
    (zipped("[Content_Types].xml", "word/document.xml"), "a.zip", "application/zip"),
    (b"PK\x05\x06" + bytes(18), "empty.zip", "application/zip"),
    ("Grüße <3 & <john@example.com>".encode(), "a.txt", "text/plain"),
    ("Grüße".encode("latin-1"), "a.txt", "text/plain"),
    ("Grüße".encode("utf-16"), "a.txt", "text/plain"),
    (b"<john@example.com> wrote: use <script> here", "a.txt", "text/plain"),
    (b"a;b\n1;2\n", "a.csv", "text/csv"),
    (b"BEGIN:VCARD\r\nVERSION:3.0\r\nEND:VCARD\r\n", "a.vcf", "text/vcard"),
    (b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", "a.ics", "text/calendar"),
    (json.dumps({"a": 1}).encode(), "a.json", "application/json"),
]


@pytest.mark.parametrize(("data", "filename", "mime"), GENUINE)
def test_a_genuine_file_has_the_type_of_its_name(data: bytes, filename: str, mime: str) -> None:
    assert not sniff.contradicts(data, filename)
    assert sniff.mime_of(data, filename) == mime
    assert sniff.refusal(data, filename) is None


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
HTML = b"<!DOCTYPE html><script>alert(1)</script>"
MARKUP = [
    *(SVG, HTML, b"<?xml version='1.0'?>" + SVG, b"\xef\xbb\xbf  \n<HTML>", b"<!-- x --><svg>", b"<script>1</script>"),
    *(
        b"\n\t <Body onload=x>",
        b"<a href=x>",
        b"<img src=x onerror=alert(1)>",
        "<html>".encode("utf-16"),
        b"<?php echo 1;",
    ),
]
PROGRAMS = [
    b"MZ\x90\0\x03\0\0\0",
    b"\x7fELF\x02\x01\x01\0",
    b"\xca\xfe\xba\xbe\0\0\0\x34",
    b"\xcf\xfa\xed\xfe\x07\0\0\x01",
]


@pytest.mark.parametrize("data", MARKUP + PROGRAMS)
@pytest.mark.parametrize(
    "filename", ["a.png", "a.jpg", "a.gif", "a.webp", "a.pdf", "a.txt", "a.csv", "a.mp4", "a.docx", "a.zip"]
)
def test_markup_and_programs_contradict_every_allowed_name(data: bytes, filename: str) -> None:
    assert sniff.contradicts(data, filename)
    assert sniff.refusal(data, filename)
    assert sniff.mime_of(data, filename) in ("text/html", "application/xml", sniff.UNKNOWN)


@pytest.mark.parametrize(
    "filename", ["a.svg", "a.html", "a.htm", "a.xml", "a.exe", "a.js", "a.xhtml", "a", "", "a.png.html", "a.docm"]
)
@pytest.mark.parametrize("data", [b"", PNG, HTML, SVG, b"text"])
def test_names_of_no_allowed_type_are_refused_whatever_they_hold(data: bytes, filename: str) -> None:
    assert sniff.refusal(data, filename)
    assert not sniff.inline_ok(sniff.mime_of(data, filename), data) or data == PNG


@pytest.mark.parametrize("image", [PNG, JPEG, GIF, WEBP])
@pytest.mark.parametrize(
    "payload",
    [
        *(
            b"<script>alert(1)</script>",
            b"<SVG onload=x>",
            b"<html\n>",
            b"<?PHP system($_GET[0]);?>",
            b"<iframe/src=x>",
        ),
        *(b"<body>", b"<!doctype html>", zipped("evil.class"), b"<foreignObject >"),
    ],
)
@pytest.mark.parametrize("size", [0, 100_000])
def test_polyglots_are_no_images(image: bytes, payload: bytes, size: int) -> None:
    noise = os.urandom(size)
    data = image + noise + payload + (b"" if payload.startswith(b"PK") else noise)
    for filename in ("a.png", "a.jpg", "a.gif", "a.webp", "a"):
        mime = sniff.mime_of(data, filename)
        assert not mime.startswith("image/")
        assert not sniff.inline_ok("image/png", data)
    assert sniff.contradicts(data, "a.png")


@pytest.mark.parametrize("image", [GIF, JPEG])
def test_an_image_that_is_also_a_pdf_is_neither(image: bytes) -> None:
    assert sniff.mime_of(image + b"%PDF-1.4\n", "a.gif") == sniff.UNKNOWN


def test_a_ten_megabyte_polyglot_is_judged_quickly() -> None:
    noise = os.urandom(5_000_000)
    hostile = [
        noise + b"<script>" + noise,
        b"<" * 10_000_000 + b"<svg ",
        b"<scrip" * 1_700_000 + b"<html>",
        b"PK" * 5_000_000,
    ]
    for body in hostile:
        start = time.process_time()
        assert sniff.mime_of(JPEG + body, "a.jpg") == (sniff.UNKNOWN if b"PKPK" not in body else "image/jpeg")
        assert time.process_time() - start < 0.6


def test_noise_stays_the_image_it_claims_to_be() -> None:
    for head in (PNG, JPEG):
        data = head + os.urandom(3_000_000)
        assert sniff.mime_of(data, "a") == sniff.mime_of(head, "a")


@pytest.mark.parametrize(
    ("data", "filename"),
    [
        *(
            (PNG, "a.jpg"),
            (JPEG, "a.png"),
            (PNG, "a.pdf"),
            (b"%PDF-1.4", "a.png"),
            (b"MZ\x90\0", "a.pdf"),
            (OLE, "a.docx"),
        ),
        *(
            (zipped("a.txt"), "a.docx"),
            (zipped("a.txt"), "a.odt"),
            (b"hello", "a.pdf"),
            (b"hello", "a.mp3"),
            (b"\0\1\2", "a.txt"),
        ),
        *(
            (zipped("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), "a.docx"),
            (iso(b"isom"), "a.heic"),
        ),
        *(
            (zipped("x", first=("mimetype", "application/epub+zip")), "a.odt"),
            (b"RIFF\0\0\0\0WAVE", "a.webp"),
            (b"x", "a.json.png"),
        ),
        *((b"\x89PNG\r\n\x1a\n<html>", "a.png"), (JPEG, "a.csv"), (ebml(b"webm"), "a.mp4"), (b"OggS", "a.mp3")),
    ],
)
def test_bytes_that_are_something_else_contradict_the_name(data: bytes, filename: str) -> None:
    assert sniff.contradicts(data, filename)
    assert sniff.mime_of(data, filename) != sniff.ALLOWED[sniff.extension(filename)]


@pytest.mark.parametrize(("filename", "mime"), sorted(("x." + ext, mime) for ext, mime in sniff.ALLOWED.items()))
def test_an_empty_file_is_typed_by_its_name(filename: str, mime: str) -> None:
    assert sniff.mime_of(b"", filename) == mime
    assert not sniff.contradicts(b"", filename)
    assert sniff.refusal(b"", filename) is None


def test_a_nameless_file_is_typed_by_its_bytes() -> None:
    assert sniff.mime_of(PNG, "") == "image/png"
    assert sniff.mime_of(b"hello", "noextension") == "text/plain"
    assert sniff.mime_of(OLE, "") == sniff.UNKNOWN
    assert sniff.mime_of(b"", "") == sniff.UNKNOWN
    assert not sniff.contradicts(PNG, "")


def test_only_four_kinds_of_image_are_shown_in_place() -> None:
    shown = {mime for mime in sniff.ALLOWED.values() if sniff.inline_ok(mime)}
    assert shown == {"image/png", "image/jpeg", "image/gif", "image/webp"}
    assert sniff.inline_ok("image/png", PNG)
    assert not sniff.inline_ok("image/png", JPEG)
    assert not sniff.inline_ok("image/png", b"")
    assert not sniff.inline_ok("image/svg+xml", SVG)
    assert not sniff.inline_ok("text/html", HTML)


@given(st.binary(max_size=80), st.text(max_size=12))
def test_any_bytes_under_any_name_get_a_type(data: bytes, filename: str) -> None:
    assert "/" in sniff.mime_of(data, filename)
    assert not (sniff.contradicts(data, filename) and sniff.refusal(data, filename) is None)


@pytest.mark.parametrize(
    ("mime", "ext"),
    [
        ("image/jpeg", "jpg"),
        ("audio/ogg; codecs=opus", "ogg"),
        ("AUDIO/MPEG", "mp3"),
        ("video/3gpp", "3gp"),
        ("x/y", ""),
        ("", ""),
    ],
)
def test_a_declared_type_gives_an_extension(mime: str, ext: str) -> None:
    assert sniff.extension_for(mime) == ext


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("receipt.pdf", "receipt.pdf"),
        ("Réceipt #1.pdf", "Réceipt #1.pdf"),
        ("Re\u0301ceipt.pdf", "Réceipt.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.doc", "a.doc"),
        ("a/", "file"),
        ("", "file"),
        ("...", "file"),
        (".bashrc", "bashrc"),
        ("a\0b\r\nc.txt", "ab c.txt"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a\u200b\u2066b\ufeff.pdf", "ab.pdf"),
        ("\ud800a.pdf", "a.pdf"),
        ('a<b>"c".pdf', "a_b_c_.pdf"),
        ("CON.txt", "fileCON.txt"),
        ("nul", "filenul"),
        ("  a   b .pdf. ", "a b.pdf"),
        ("😀.png", "😀.png"),
        ("x" * 500 + ".pdf", "x" * 176 + ".pdf"),
        ("漢" * 100 + ".pdf", "漢" * 58 + ".pdf"),
        ("a." + "x" * 300, "a." + "x" * 178),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    assert sniff.safe_filename(name) == safe


@given(st.text() | st.text('ab./\\:* "<>|\u202e\r\n\0é漢', max_size=300))
def test_a_safe_name_is_short_whole_and_safe_already(name: str) -> None:
    safe = sniff.safe_filename(name)
    assert 0 < len(safe.encode()) <= sniff.MAX_NAME + 4
    assert sniff.safe_filename(safe) == safe
    assert not set(safe) & set('/\\\r\n\0<>:"|?*\u202e')
    assert safe not in (".", "..")


def test_a_huge_name_costs_nothing() -> None:
    start = time.process_time()
    sniff.safe_filename("x" * 5_000_000 + ".pdf")
    assert time.process_time() - start < 0.2


@given(st.text(max_size=80), st.booleans())
def test_the_header_carries_every_name_and_never_breaks(name: str, inline: bool) -> None:
    value = sniff.content_disposition(name, inline)
    assert value.isascii()
    assert value.isprintable()
    kind, options = parse_options_header(value)
    assert kind == ("inline" if inline else "attachment")
    assert options["filename"] == sniff.safe_filename(name)


def test_old_clients_get_a_readable_ascii_name() -> None:
    assert sniff.content_disposition("Réçu 50%.pdf") == (
        "attachment; filename=\"Recu 50_.pdf\"; filename*=UTF-8''R%C3%A9%C3%A7u%2050%25.pdf"
    )
    assert sniff.content_disposition("😀.png").startswith('attachment; filename="_.png"; ')
    assert sniff.content_disposition("plain.txt") == 'attachment; filename="plain.txt"'
