"""Small files for the demo to send about: drawn here, so that none has to be kept. Called by `demo` alone."""

from __future__ import annotations

import struct
import zlib


def picture(name: str) -> bytes:
    """Draw a small PNG: a hill under the sky, in colours that the name decides."""
    width, height, hue = 480, 320, zlib.crc32(name.encode())
    sky, hill = (150 + hue % 90, 190, 225), (60, 90 + hue // 90 % 80, 70)
    rows = bytearray()
    for y in range(height):
        ridge = [100 + abs((x + hue % width) % 320 - 160) for x in range(width)]
        rows += b"\0" + b"".join(bytes(hill if y > top else sky) for top in ridge)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def paper(business: str, name: str) -> bytes:
    """Write a PDF of one page: who sends it, and what it is."""
    text = f"BT /F 24 Tf 72 740 Td ({business}) Tj 0 -40 Td /F 14 Tf ({name.removesuffix('.pdf')}) Tj ET".encode()
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F %b >> >> >>"
        % font,
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(text), text),
    ]
    body, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, start = len(objects) + 1, len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n%btrailer << /Size %d /Root 1 0 R >>\n" % (size, table, size)
    return bytes(body + b"startxref\n%d\n%%%%EOF\n" % start)
