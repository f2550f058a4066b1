"""Turn one message of ours into the calls that WhatsApp needs for it. Called by the channel's `send`; calls nobody.

https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from channels.base import ChannelError, File, Outgoing, Template

CAPTION = 1024
SCOPED_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_BUTTON = re.compile(r"button:(\d)(?::([a-z_]+))?")
_CAPTIONED = frozenset({"image", "video", "document"})

Body = dict[str, Any]
Upload = Callable[[File], str]


def recipient(to: str) -> Body:
    """Address a person by number or by scoped id, exactly as it came in.

    A number always gets its `+`: without it, Meta may put our own country before it and deliver to a stranger.
    """
    if SCOPED_ID.fullmatch(to):
        return {"recipient": to}
    digits = to.removeprefix("+")
    if not re.fullmatch(r"\d{5,20}", digits, re.ASCII):
        raise ChannelError("This is neither a phone number nor a WhatsApp id.", code="bad_recipient")
    return {"to": f"+{digits}"}


def calls(message: Outgoing, upload: Upload) -> list[Callable[[], Body]]:
    """List what makes the body of each call, always in the same order. Files are uploaded when theirs is made.

    Each file is a message of its own. The text is the caption of the first one that can have a caption, else it goes
    first, alone. WhatsApp takes no empty file: one is left out, so that the text goes all the same.
    """
    if message.template:
        return [partial(_template, message.template, message.files, upload)]
    files = [file for file in message.files if file.size]
    captioned = next((file for file in files if media_type(file.mime) in _CAPTIONED), None)
    if len(message.text) > CAPTION:
        captioned = None
    made: list[Callable[[], Body]] = []
    if message.text and captioned is None:
        made.append(partial(_text, message.text))
    for file in files:
        made.append(partial(_media, file, message.text if file is captioned else "", upload))
    if not made:
        raise ChannelError("There is nothing in this message.", code="empty")
    return made


def media_type(mime: str) -> str:
    """Name WhatsApp's type for a file; a WebP picture is a sticker there."""
    kind = base_type(mime)
    family = kind.partition("/")[0]
    if kind == "image/webp":
        return "sticker"
    return family if family in ("image", "video", "audio") else "document"


def base_type(mime: str) -> str:
    return mime.partition(";")[0].strip().lower()


def _text(text: str) -> Body:
    return {"type": "text", "text": {"body": text, "preview_url": "https://" in text or "http://" in text}}


def _media(file: File, caption: str, upload: Upload) -> Body:
    kind = media_type(file.mime)
    body: Body = {"id": upload(file)}
    if caption:
        body["caption"] = caption
    if kind == "document":
        body["filename"] = file.filename
    if base_type(file.mime) == "audio/ogg":  # WhatsApp takes Ogg as Opus alone: a voice note
        body["voice"] = True
    return {"type": kind, kind: body}


def _template(template: Template, files: Sequence[File], upload: Upload) -> Body:
    if len(files) > 1:
        raise ChannelError("A template takes one file, in its header.", code="template_files")
    components = [_header(file, upload) for file in files]
    for key, values in template.parameters.items():
        components.append(_component(key, values))
    body: Body = {"name": template.name, "language": {"code": template.language}}
    return {"type": "template", "template": body | ({"components": components} if components else {})}


def _header(file: File, upload: Upload) -> Body:
    kind = media_type(file.mime)
    if kind not in _CAPTIONED:
        raise ChannelError("The header of a template is a picture, a video or a document.", code="template_files")
    body: Body = {"id": upload(file)} | ({"filename": file.filename} if kind == "document" else {})
    return {"type": "header", "parameters": [{"type": kind, kind: body}]}


def _component(key: str, values: Sequence[str] | Mapping[str, str]) -> Body:
    if isinstance(values, str):  # which would pass for a list of its letters
        values = [values]
    if button := _BUTTON.fullmatch(key):
        sub_type = button[2] or "url"
        given = values.values() if isinstance(values, Mapping) else values
        parameters = [_button_value(sub_type, value) for value in given]
        return {"type": "button", "sub_type": sub_type, "index": button[1], "parameters": parameters}
    if key not in ("header", "body"):
        raise ChannelError(f"A template has no part named {key}.", code="template_part")
    if isinstance(values, Mapping):
        named = [{"type": "text", "parameter_name": name, "text": value} for name, value in values.items()]
        return {"type": key, "parameters": named}
    return {"type": key, "parameters": [{"type": "text", "text": value} for value in values]}


def _button_value(sub_type: str, value: str) -> Body:
    kind, name = {"quick_reply": ("payload", "payload"), "copy_code": ("coupon_code", "coupon_code")}.get(
        sub_type, ("text", "text")
    )
    return {"type": kind, name: value}
