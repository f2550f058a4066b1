"""The outbound door: the only place of the product that opens a connection to a stranger.

Channels and the worker call here. Every address that is dialled is judged by `rules`, whoever named it; there are no
proxies, cookies, `.netrc`, redirects (unless asked for) or decompression, and no request outlives its deadline.
"""

from lib.fetch.calls import Response, Stream, connect, request, stream
from lib.fetch.rules import FetchError, Kind, Policy, Refused, Target, check_host, check_url, classify
from lib.fetch.sessions import pool, post
from lib.fetch.wires import tls_context

__all__ = [
    "FetchError",
    "Kind",
    "Policy",
    "Refused",
    "Response",
    "Stream",
    "Target",
    "check_host",
    "check_url",
    "classify",
    "connect",
    "pool",
    "post",
    "request",
    "stream",
    "tls_context",
]
