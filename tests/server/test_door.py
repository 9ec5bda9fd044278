"""Connections that say nothing, or say it slowly, or are too many."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
from served import new_coordinator

from wardround_server.door import Door, server_context
from wardround_server.guard import answer, read_body
from wardround_server.service import _server

SHORT_S = 0.2
REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return new_coordinator(tmp_path_factory.mktemp("door") / "coordinator")


class Port:
    """A port with a door in front of an application that takes a while."""

    def __init__(self, home, **options):
        self.told = []
        self.home = home
        context = server_context(home.path, client_ca=None)
        self.door = Door(context, self._refused, **options)

    def _refused(self, code, *, site="", address="", seconds=0):
        self.told.append((code, address))

    async def app(self, scope, receive, send):
        await asyncio.sleep(2 * SHORT_S if scope["path"] == "/slow" else 0)
        await answer(send, 200, b"yes")

    @contextlib.asynccontextmanager
    async def open(self):
        server = _server(self.app, host="127.0.0.1", port=self.home.config.port, http=self.door)
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield self
        finally:
            server.should_exit = True
            await task

    async def plain(self, **options):
        return await asyncio.open_connection("127.0.0.1", self.home.config.port, **options)

    async def secured(self, **options):
        context = ssl.create_default_context(cafile=self.home.path / "ca.pem")
        return await self.plain(ssl=context, **options)

    async def until(self, *codes):
        async with asyncio.timeout(10):
            while not {code for code, _ in self.told} >= set(codes):
                await asyncio.sleep(0.01)


async def ends(reader):
    """The connection is ended by the other side."""
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while await reader.read(1000):
                pass


async def asked(reader, writer, request=REQUEST):
    writer.write(request)
    async with asyncio.timeout(10):
        return (await reader.readuntil(b"yes")).split(b"\r\n")[0]


def test_a_peer_that_says_nothing_is_shut_out_when_its_handshake_is_overdue(home):
    async def go():
        async with Port(home, handshake_s=SHORT_S).open() as port:
            reader, writer = await port.plain()
            await ends(reader)
            assert port.told == [("tls.slow", "127.0.0.1")]
            writer.close()

    asyncio.run(go())


def test_a_peer_that_goes_away_is_not_told_of(home):
    async def go():
        async with Port(home, handshake_s=SHORT_S).open() as port:
            _, writer = await port.plain()
            writer.close()
            await asyncio.sleep(2 * SHORT_S)
            assert port.told == []
            assert not port.door._open

    asyncio.run(go())


@pytest.mark.parametrize("before", [b"", REQUEST], ids=["the first request", "the second"])
def test_headers_that_come_slowly_are_not_waited_for(home, before):
    async def go():
        async with Port(home, headers_s=SHORT_S).open() as port:
            reader, writer = await port.secured()
            if before:
                assert await asked(reader, writer, before) == b"HTTP/1.1 200 OK"

            async def slowly():
                for byte in REQUEST * 100:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(SHORT_S / 10)

            speaking = asyncio.create_task(slowly())
            await ends(reader)
            speaking.cancel()
            await port.until("http.slow")
            writer.close()

    asyncio.run(go())


def test_an_answer_may_take_longer_than_headers(home):
    async def go():
        async with Port(home, headers_s=SHORT_S).open() as port:
            reader, writer = await port.secured()
            slow = REQUEST.replace(b"GET /", b"GET /slow")
            assert await asked(reader, writer, slow) == b"HTTP/1.1 200 OK"
            assert port.told == []
            writer.close()

    asyncio.run(go())


def test_headers_that_never_end_are_refused(home):
    async def go():
        async with Port(home).open() as port:
            reader, writer = await port.secured()
            writer.write(b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * (1 << 17))
            await ends(reader)
            await port.until("http.malformed")
            writer.close()

    asyncio.run(go())


def test_one_address_has_so_many_connections_and_others_are_heard(home):
    async def go():
        of_one = home.config.connections_of_one
        async with Port(home, of_one=of_one).open() as port:
            held = [await port.plain() for _ in range(of_one + 20)]
            await port.until("door.too_many")
            async with asyncio.timeout(10):
                while len(port.told) < 20:
                    await asyncio.sleep(0.01)
            assert port.told == [("door.too_many", "127.0.0.1")] * 20
            reader, writer = await port.secured(local_addr=("127.0.0.2", 0))
            assert await asked(reader, writer) == b"HTTP/1.1 200 OK"
            for _, one in held:
                one.close()
            async with asyncio.timeout(10):
                while port.door._open["127.0.0.1"]:
                    await asyncio.sleep(0.01)
            reader, again = await port.secured()
            assert await asked(reader, again) == b"HTTP/1.1 200 OK"
            writer.close()
            again.close()

    asyncio.run(go())


def test_so_many_connections_stand_altogether(home):
    async def go():
        async with Port(home, of_all=2).open() as port:
            held = [await port.secured(local_addr=(f"127.0.0.{n}", 0)) for n in (2, 3)]
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await port.secured(local_addr=("127.0.0.4", 0))
            assert port.told == [("door.too_many", "127.0.0.4")]
            assert set(port.door._open) == {"127.0.0.2", "127.0.0.3"}
            for _, one in held:
                one.close()

    asyncio.run(go())


def test_a_body_that_does_not_come_is_not_waited_for():
    async def never():
        await asyncio.sleep(3600)

    async def go():
        with pytest.raises(TimeoutError):
            await read_body(never, limit_bytes=10, timeout_s=0.05)

    asyncio.run(go())
