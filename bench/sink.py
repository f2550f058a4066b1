"""The fastest receiver that Python makes: answers every POST with 200 at once and writes down when which event came.

`python -m bench.sink PORT FILE`, in a process of its own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import IO

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Sink(asyncio.Protocol):
    def __init__(self, log: IO[str]) -> None:
        self.log, self.buffer = log, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.index(b"content-length:") + 15
            size = int(head[at : head.find(b"\r", at) if head.find(b"\r", at) > 0 else None])
            if len(self.buffer) < end + 4 + size:
                return
            event = head[head.index(b"x-webhook-id:") + 13 :].split(b"\r", 1)[0].strip().decode()
            self.buffer = self.buffer[end + 4 + size :]
            self.log.write(f"{event} {time.time()}\n")
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def main(port: int, path: str) -> None:
    with Path(path).open("w", buffering=1) as log:
        server = await asyncio.get_running_loop().create_server(lambda: Sink(log), "127.0.0.1", port, backlog=512)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
