"""A delivery as text to copy: the request as cURL, and programs that verify its signature with its own numbers.

Each program reads the secret from the environment and the body as it was sent, prints both signatures, and ends with
`the signature is right` or `wrong`.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping

import orjson

INLINE = 4096  # bytes of body that stand in the program itself; a longer one is read from a file


def curl(url: str, headers: Mapping[str, str], body: bytes) -> str:
    """Write the request as a command; masked headers stay masked."""
    lines = [f"curl -X POST {shlex.quote(url)}"]
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers.items()]
    return " \\\n  ".join([*lines, f"--data-raw {shlex.quote(body.decode())}"])


def verify(timestamp: str, signature: str, body: bytes) -> dict[str, str]:
    """Write the check of one signature in the languages of most receivers."""
    inline = len(body) <= INLINE
    text = base64.b64encode(body).decode()
    parts = {"timestamp": timestamp, "signature": signature}
    bodies = {
        "Node": f"Buffer.from({_quoted(text)}, 'base64')" if inline else "fs.readFileSync('body.json')",
        "Python": f"base64.b64decode({_quoted(text)})" if inline else 'pathlib.Path("body.json").read_bytes()',
        "PHP": f"base64_decode({_quoted(text)})" if inline else "file_get_contents('body.json')",
    }
    return {name: _PROGRAMS[name] % (parts | {"body": source}) for name, source in bodies.items()}


def _quoted(text: str) -> str:
    return f"'{text}'"


def pretty(body: bytes) -> str:
    """Indent a JSON text; anything else comes back as it is."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")


_PROGRAMS = {
    "Node": """\
const crypto = require('crypto'), fs = require('fs');

const timestamp = '%(timestamp)s';  // X-Webhook-Timestamp
const sent = '%(signature)s';  // X-Webhook-Signature
const body = %(body)s;  // the raw bytes, before any parsing

const signed = Buffer.concat([Buffer.from(timestamp + '.'), body]);
const mine = crypto.createHmac('sha256', process.env.WEBHOOK_SECRET).update(signed).digest('hex');
console.log('sent', sent);
console.log('mine', mine);
console.log(crypto.timingSafeEqual(Buffer.from(sent), Buffer.from(mine)) ? 'the signature is right' : 'wrong');
""",
    "Python": """\
import base64, hashlib, hmac, os, pathlib

timestamp = "%(timestamp)s"  # X-Webhook-Timestamp
sent = "%(signature)s"  # X-Webhook-Signature
body = %(body)s  # the raw bytes, before any parsing

secret = os.environ["WEBHOOK_SECRET"].encode()
mine = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
print("sent", sent)
print("mine", mine)
print("the signature is right" if hmac.compare_digest(sent, mine) else "wrong")
""",
    "PHP": """\
<?php
$timestamp = '%(timestamp)s';  // X-Webhook-Timestamp
$sent = '%(signature)s';  // X-Webhook-Signature
$body = %(body)s;  // the raw bytes, before any parsing

$mine = hash_hmac('sha256', $timestamp . '.' . $body, getenv('WEBHOOK_SECRET'));
echo "sent $sent\\nmine $mine\\n";
echo hash_equals($sent, $mine) ? "the signature is right\\n" : "wrong\\n";
""",
}
