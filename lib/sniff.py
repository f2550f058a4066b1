"""What a file is, judged by its bytes; its name may refine that, never overrule it.

Uploads, inbound media and downloads ask here. Whatever a browser could execute is never called an image.
"""

from __future__ import annotations

import re
import unicodedata
from types import MappingProxyType
from urllib.parse import quote

UNKNOWN = "application/octet-stream"
MAX_NAME = 180  # bytes of UTF-8

_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."
_OLE = "application/x-ole-storage"

ALLOWED = MappingProxyType({
    # The first extension of a type is the one given to files that come without a name.
    **{"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp"},
    **{"heic": "image/heic", "heif": "image/heic", "avif": "image/avif", "bmp": "image/bmp", "tif": "image/tiff"},
    **{"tiff": "image/tiff"},
    **{"mp3": "audio/mpeg", "m4a": "audio/mp4", "aac": "audio/aac", "amr": "audio/amr", "ogg": "audio/ogg"},
    **{"oga": "audio/ogg", "opus": "audio/ogg", "wav": "audio/wav", "flac": "audio/flac", "weba": "audio/webm"},
    **{"mp4": "video/mp4", "m4v": "video/mp4", "3gp": "video/3gpp", "mov": "video/quicktime", "webm": "video/webm"},
    **{"mkv": "video/x-matroska", "avi": "video/x-msvideo", "ogv": "video/ogg"},
    **{"pdf": "application/pdf", "rtf": "application/rtf", "zip": "application/zip"},
    **{"doc": "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint"},
    **{"docx": _OOXML + "wordprocessingml.document", "xlsx": _OOXML + "spreadsheetml.sheet"},
    **{"pptx": _OOXML + "presentationml.presentation"},
    **{"odt": _ODF + "text", "ods": _ODF + "spreadsheet", "odp": _ODF + "presentation"},
    **{"txt": "text/plain", "csv": "text/csv", "tsv": "text/tab-separated-values", "md": "text/markdown"},
    **{"log": "text/plain", "vcf": "text/vcard", "ics": "text/calendar", "json": "application/json"},
})  # fmt: skip

_INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

# What the bytes may look like under a name, besides the very type of the name.
_ISO_MEDIA = frozenset({"video/mp4", "audio/mp4", "video/quicktime", "video/3gpp"})
_MATROSKA = frozenset({"video/webm", "video/x-matroska"})
_LOOKS = {
    **dict.fromkeys(("mp4", "m4v", "m4a", "mov", "3gp"), _ISO_MEDIA),
    **dict.fromkeys(("webm", "weba", "mkv"), _MATROSKA),
    **dict.fromkeys(("ogg", "oga", "opus", "ogv"), frozenset({"audio/ogg", "video/ogg"})),
    **dict.fromkeys(("csv", "tsv", "md", "vcf", "ics", "json"), frozenset({"text/plain"})),
    **dict.fromkeys(("doc", "xls", "ppt"), frozenset({_OLE, "application/rtf"})),
    **dict.fromkeys(("docx", "xlsx", "pptx"), frozenset({"application/encrypted"})),  # a password wraps them in OLE
    "aac": frozenset({"audio/mpeg"}),  # an ID3 tag may stand before either
    "zip": frozenset(ALLOWED[ext] for ext in ("docx", "xlsx", "pptx", "odt", "ods", "odp")),
}

_PREFIXES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"OggS", "audio/ogg"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"{\\rtf", "application/rtf"),
    (b"%PDF-", "application/pdf"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = (
    (re.compile(rb"avif|avis"), "image/avif"),
    (re.compile(rb"hei[cxms]|hev[cxms]|mif1|msf1"), "image/heic"),
    (re.compile(rb"M4[AB] "), "audio/mp4"),
    (re.compile(rb"qt  "), "video/quicktime"),
    (re.compile(rb"3g[2p]."), "video/3gpp"),
)
_TAGS = b"!doctype html head body script svg iframe style meta link title form object embed foreignobject ?php".split()
_TAG = b"|".join(re.escape(tag) for tag in _TAGS)
_TAG_ANYWHERE = re.compile(rb"<(?:" + _TAG + rb")[\s/>]", re.IGNORECASE)
_TAG_FIRST = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!--|\?xml|(?:" + _TAG + rb"|h1|div|font|table|a|b|br|p|img|span)[\s/>])", re.IGNORECASE
)
_NO_TEXT = bytes({*range(32), 127} - set(b"\t\n\f\r\x1b"))


def mime_of(data: bytes, filename: str) -> str:
    """Give a file's type: that of its name if the bytes agree (or there are none), else that of the bytes."""
    named = ALLOWED.get(extension(filename), UNKNOWN)
    if not data:
        return named
    return named if named != UNKNOWN and not contradicts(data, filename) else _look(data).replace(_OLE, UNKNOWN)


def contradicts(data: bytes, filename: str) -> bool:
    """Say whether the bytes are not what the name promises. A name of no known type promises nothing."""
    ext = extension(filename)
    if not data or ext not in ALLOWED:
        return False
    look = _look(data)
    return look != ALLOWED[ext] and look not in _LOOKS.get(ext, ())


def refusal(data: bytes, filename: str) -> str | None:
    """Say in a sentence why this file may not be uploaded, or None."""
    ext = extension(filename)
    if ext not in ALLOWED:
        return f"Files of this type cannot be sent. Use one of: {', '.join(sorted(ALLOWED))}."
    if contradicts(data, filename):
        return f"The file is named .{ext}, but its content is something else."
    return None


def inline_ok(mime: str, data: bytes | None = None) -> bool:
    """Say whether a browser may show a file in place; given its bytes, only if they are that very image."""
    return mime in _INLINE and (data is None or _look(data) == mime)


def extension(filename: str) -> str:
    """Give the extension in lower case, without its dot, or nothing."""
    stem, dot, ext = safe_filename(filename).rpartition(".")
    return ext.lower() if dot and stem else ""


def extension_for(mime: str) -> str:
    """Give the extension for a declared type (`audio/ogg; codecs=opus` → `ogg`), or nothing."""
    bare = mime.partition(";")[0].strip().lower()
    return next((ext for ext, known in ALLOWED.items() if known == bare), "")


def safe_filename(name: str) -> str:
    """Give a name fit for any disk, header and screen: no path, control or direction characters, at most 180 bytes."""
    name = re.split(r"[/\\]", name)[-1]
    name = unicodedata.normalize("NFC", name if len(name) < 1000 else name[:500] + name[-500:])
    name = "".join(" " if char.isspace() else char for char in name)
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    name = re.sub(r' *[<>:"|?*]+ *', "_", re.sub(r" +", " ", name)).strip(" .")
    stem, dot, ext = name.rpartition(".")
    if dot and stem and len(ext.encode()) <= 20:
        stem = _cut(stem, MAX_NAME - len(ext.encode()) - 1).rstrip(" .")
    else:
        stem, dot, ext = _cut(name, MAX_NAME), "", ""
    if re.fullmatch(r"(?i)con|prn|aux|nul|com[0-9]|lpt[0-9]|", stem.partition(".")[0]):
        stem = "file" + stem  # device names on Windows
    return stem + dot + ext


def content_disposition(filename: str, inline: bool = False) -> str:
    """Give the header's value (RFC 6266): an ASCII name for the old, the full one (RFC 8187) where they differ."""
    name = safe_filename(filename)
    letters = (char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    plain = "".join(char if " " <= char <= "~" and char not in '%"\\' else "_" for char in letters)
    value = f'{"inline" if inline else "attachment"}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")


def _look(data: bytes) -> str:
    """Judge by the bytes alone."""
    kind = _by_signature(data)
    if kind.startswith("image/") and _two_faced(data):
        return UNKNOWN
    return kind or _as_text(data)


def _by_signature(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png" if data[12:16] == b"IHDR" else UNKNOWN
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12], UNKNOWN)
    if data.startswith(b"BM") and data[6:10] == b"\0\0\0\0":
        return "image/bmp"
    if data.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in data[:80] else "video/x-matroska"
    if data[4:8] == b"ftyp":
        brands = data[8:12] + data[16:40]
        return next((kind for form, kind in _BRANDS if form.match(brands)), "video/mp4")
    if data[4:8] in (b"moov", b"mdat", b"wide") and data[0] == 0:
        return "video/quicktime"
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "application/encrypted" if "EncryptedPackage".encode("utf-16-le") in data else _OLE
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _in_zip(data)
    kind = next((kind for prefix, kind in _PREFIXES if data.startswith(prefix)), "")
    return "video/ogg" if kind == "audio/ogg" and b"theora" in data[:4096] else kind or _by_frame(data)


def _by_frame(data: bytes) -> str:
    """Know MPEG audio without a header by its first frame."""
    if len(data) < 4 or data[0] != 0xFF:
        return ""
    if data[1] & 0xF6 == 0xF0:
        return "audio/aac"
    layer_3 = data[1] & 0xE6 == 0xE2 and data[1] & 0x18 != 0x08
    return "audio/mpeg" if layer_3 and data[2] >> 4 != 0xF and data[2] & 0x0C != 0x0C else ""


def _in_zip(data: bytes) -> str:
    """Know office documents by the names inside; one with macros is none that we take."""
    if data[30:38] == b"mimetype":
        declared = data[38:120].split(b"PK", 1)[0].decode("ascii", "replace")
        return declared if declared.startswith(_ODF) else "application/zip"
    if b"[Content_Types].xml" in data:
        for part, ext in ((b"word/document", "docx"), (b"xl/workbook", "xlsx"), (b"ppt/presentation", "pptx")):
            if part in data:
                return UNKNOWN if b"vbaProject.bin" in data else ALLOWED[ext]
    return "application/zip"


def _two_faced(data: bytes) -> bool:
    """Say whether an image is also markup, a PDF or an archive to somebody who wants to see it so."""
    return b"%PDF-" in data[:1024] or b"PK\x05\x06" in data[-65_557:] or _has_markup(data)


def _has_markup(data: bytes) -> bool:
    if data.count(b"<") * 32 < len(data):
        return _TAG_ANYWHERE.search(data) is not None
    data = data.lower()  # a bitmap of one grey is all "<", and the pattern would take a second to try each
    return any(b"<" + tag in data for tag in _TAGS)


def _as_text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", "replace").encode()
    if len(data.translate(None, _NO_TEXT)) != len(data):
        return "application/pdf" if b"%PDF-" in data[:1024] else UNKNOWN
    if _TAG_FIRST.match(data):
        return "application/xml" if re.match(rb"\W*<(?:\?xml|svg)", data, re.IGNORECASE) else "text/html"
    return "text/plain"
