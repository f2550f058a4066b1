"""Files to send: uploaded here, named by their `file_url` in a message. Downloads are in `blueprints.media`."""

from __future__ import annotations

from flask import Response, current_app, g, request
from pydantic import Field

from blueprints import answers
from blueprints.api.routing import Routes
from blueprints.api.shapes import Attachment, Done
from errors import Invalid, TooLarge, UnsupportedMedia
from services import attachments, payloads

routes = Routes("Files")


class UploadAnswer(Done):
    attachment: Attachment = Field(description="Its `file_url` is what you send.")


@routes.post("/api-upload-attachment", scope="send", answer=UploadAnswer, status=201, upload=True)
def upload() -> Response:
    """Upload a file

    As multipart form data in the field `file`, up to 10 MB: pictures, sound, video, PDF, office documents, text. The
    type is that of the name; 415 when the bytes contradict it.
    """
    limit = current_app.extensions["settings"].upload_max_bytes
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMedia("Send the file as multipart/form-data, in the field `file`.")
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Invalid("Send the file, with its name, in the field `file`.", code="required_field", field="file")
    data = file.stream.read(limit + 1)
    if len(data) > limit:
        raise TooLarge(f"A file has at most {limit} bytes.", field="file")
    attachment = attachments.upload(g.business, file.filename, data, file.mimetype or "")
    return answers.commit(lambda: {"success": True, "attachment": payloads.attachment(attachment)}, 201)
