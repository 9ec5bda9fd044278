"""A small HTTPS proxy: CONNECT and nothing else, on loopback; it remembers what it could see."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Proxy:
    """What went through.

    Attributes:
        port: Where it listens.
        asked: The first lines of the requests.
        carried: Bytes of each tunnel, from the client and to it.
    """

    def __init__(self, *, status: str = "200 Connection established") -> None:
        self.port = 0
        self.asked: list[str] = []
        self.carried: list[tuple[bytearray, bytearray]] = []
        self._status = status
        self.loop = asyncio.new_event_loop()

    async def serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._tunnel, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.stop = asyncio.Event()
        ready.set()
        await self.stop.wait()
        server.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.partition("\r\n")[0])
        method, place, _ = self.asked[-1].split(" ")
        writer.write(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
        if method != "CONNECT" or not self._status.startswith("200"):
            writer.close()
            return
        host, _, port = place.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        out, home = bytearray(), bytearray()
        self.carried.append((out, home))
        await asyncio.gather(_carry(reader, back, out), _carry(there, writer, home))


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(1 << 16):
            seen += data
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.contextmanager
def proxy(**options: str) -> Iterator[Proxy]:
    """A proxy that runs until the block ends."""
    made, ready = Proxy(**options), threading.Event()
    thread = threading.Thread(target=made.loop.run_until_complete, args=(made.serve(ready),))
    thread.start()
    assert ready.wait(10)
    try:
        yield made
    finally:
        made.loop.call_soon_threadsafe(made.stop.set)
        thread.join()
        for task in asyncio.all_tasks(made.loop):
            task.cancel()
        made.loop.run_until_complete(asyncio.sleep(0))
        made.loop.close()
