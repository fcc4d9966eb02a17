"""Connections to the API: the silent ones make room, and there is an end to all of them."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiohttp import web

from node.listening import Door, claim_files, listen

MOST = 8

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def open_server(most: int | None) -> AsyncIterator[int]:
    """Yield the port of a server that answers /, and never ends its answer to /slow."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(text="ok")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    if most is None:
        listener = await listen(runner.server, "127.0.0.1", 0)
    else:
        listener = await loop.create_server(Door(runner.server, most), "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await runner.cleanup()


async def end(streams: list[Streams]) -> None:
    for _, writer in streams:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_silent_connections_keep_nobody_away() -> None:
    async with open_server(MOST) as port, aiohttp.ClientSession() as session:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4 * MOST)]
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
        assert await silent[0][0].read() == b"", "the oldest was ended"
        await end(silent)


async def test_an_answer_on_its_way_is_not_cut_and_all_have_an_end() -> None:
    async with open_server(MOST) as port:
        busy: list[Streams] = []
        for _ in range(MOST):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            busy.append((reader, writer))
        refused = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await refused[0].read() == b""
        assert not any(reader.at_eof() for reader, _ in busy)
        await end([*busy, refused])


async def test_it_listens_with_room_for_the_rest() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        files = claim_files()
        assert files == resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= soft
        async with (
            open_server(None) as port,
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/") as response,
        ):
            assert await response.text() == "ok"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
