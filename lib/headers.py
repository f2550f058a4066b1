"""The headers that make up an HTTP request itself: whoever sends one sets them, and nobody else may."""

TRANSPORT = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}
)
