"""A chat endpoint that answers at once, as cheaply as Python can: what is measured is the client.

    python zero_latency_server.py [SECONDS]     # or after so long

It parses only the length of a request, and answers every one with the same words. Prints its base
URL; ends with its parent's pipe.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

BODY = (
    b'{"id":"x","object":"chat.completion","created":0,"model":"fake","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"' + b"A plain answer of some length. " * 6 + b'"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":40,'
    b'"total_tokens":60}}'
)
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    + str(len(BODY)).encode()
    + b"\r\n\r\n"
    + BODY
)


class Answering(asyncio.Protocol):
    """One connection; requests may come in pieces."""

    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            if self.latency_s:
                asyncio.get_running_loop().call_later(self.latency_s, self.answer)
            else:
                self.answer()

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(REPLY)  # type: ignore[attr-defined]  # it is a TCP transport


async def main() -> None:
    Answering.latency_s = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the parent goes


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        try:
            import uvloop
        except ImportError:
            asyncio.run(main())
        else:
            uvloop.run(main())
