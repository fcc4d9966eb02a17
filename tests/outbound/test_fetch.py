import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from outbound.errors import OutboundError, Refusal
from outbound.fetch import Fetched, fetch

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
FEW_SECONDS = 5.0


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """Yield the port of a server whose every connection is handled by `serve`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answer(head: str, body: bytes = b"") -> Serve:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = f"HTTP/1.1 {head}\r\n" + ("" if "Length" in head else "Connection: close\r\n")
        writer.write(lines.encode() + b"\r\n" + body)
        await writer.drain()

    return serve


async def take(url: str, path: Path, **choices: object) -> Fetched:
    limits = {"max_bytes": 1_000, "total_seconds": FEW_SECONDS, "allow_loopback": True, **choices}
    return await fetch(url, path / "file", **limits)  # type: ignore[arg-type]


async def expect(reason: Refusal, url: str, path: Path, **choices: object) -> None:
    with pytest.raises(OutboundError) as caught:
        await take(url, path, **choices)
    assert caught.value.reason is reason


async def test_what_is_there_lies_in_the_file(tmp_path: Path) -> None:
    async with serving(answer("200 OK\r\nContent-Type: audio/wav", b"sound")) as port:
        fetched = await take(f"http://127.0.0.1:{port}/a?b", tmp_path)
    assert fetched == (5, sha256(b"sound").hexdigest(), "audio/wav")
    assert (tmp_path / "file").read_bytes() == b"sound"


async def test_this_machine_is_asked_only_where_that_is_allowed(tmp_path: Path) -> None:
    async with serving(answer("200 OK", b"secret")) as port:
        for host in ("127.0.0.1", "localhost", "2130706433", "127.1", "[::1]"):
            url = f"http://{host}:{port}/"
            await expect(Refusal.ADDRESS_REFUSED, url, tmp_path, allow_loopback=False)
    for host in ("10.0.0.1", "169.254.169.254", "192.168.1.1", "[fd00::1]", "[::ffff:10.0.0.1]"):
        await expect(Refusal.ADDRESS_REFUSED, f"http://{host}/", tmp_path)


async def test_a_name_is_resolved_once_and_all_its_addresses_count(tmp_path: Path) -> None:
    asked: list[str] = []

    def resolve_to(*answers: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
        left = list(answers)

        async def resolve(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            return left.pop(0)

        return resolve

    async with serving(answer("200 OK", b"here")) as port:
        url = f"http://files.example:{port}/"
        # A second answer of the name server, which would lead inside, is never asked for.
        resolve = resolve_to(["127.0.0.1"], ["10.0.0.1"])
        assert (await take(url, tmp_path, resolve=resolve)).size == 4
        assert asked == ["files.example"]
        mixed = resolve_to(["1.1.1.1", "10.0.0.1"])
        await expect(Refusal.ADDRESS_REFUSED, url, tmp_path, resolve=mixed)


async def test_no_such_host(tmp_path: Path) -> None:
    await expect(Refusal.UNREACHABLE, "http://no-such-host.invalid/", tmp_path)


async def test_each_redirect_is_checked(tmp_path: Path) -> None:
    async with serving(answer("200 OK", b"end")) as port:
        hop = f"302 Found\r\nLocation: http://127.0.0.1:{port}/x\r\nContent-Length: 0"
        async with serving(answer(hop)) as first:
            assert (await take(f"http://127.0.0.1:{first}/", tmp_path)).size == 3
    for location in ("http://10.0.0.1/", "http://169.254.169.254/latest/meta-data"):
        async with serving(answer(f"302 Found\r\nLocation: {location}")) as port:
            await expect(Refusal.ADDRESS_REFUSED, f"http://127.0.0.1:{port}/", tmp_path)
    async with serving(answer("302 Found\r\nLocation: file:///etc/passwd")) as port:
        await expect(Refusal.URL_REFUSED, f"http://127.0.0.1:{port}/", tmp_path)
    async with serving(answer("301 Moved\r\nLocation: /again\r\nContent-Length: 0")) as port:
        await expect(Refusal.TOO_MANY_REDIRECTS, f"http://127.0.0.1:{port}/", tmp_path)


async def test_what_is_too_large_is_cut_off(tmp_path: Path) -> None:
    async with serving(answer("200 OK\r\nContent-Length: 1001", b"x" * 1_001)) as port:
        await expect(Refusal.TOO_LARGE, f"http://127.0.0.1:{port}/", tmp_path)

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 500)
            await writer.drain()

    async with serving(pour) as port:
        await expect(Refusal.TOO_LARGE, f"http://127.0.0.1:{port}/", tmp_path)
    assert (tmp_path / "file").stat().st_size <= 1_000

    async def endless_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Header: " + b"y" * 1_000 + b"\r\n")
            await writer.drain()

    async with serving(endless_head) as port:
        await expect(Refusal.UNREACHABLE, f"http://127.0.0.1:{port}/", tmp_path)


async def test_nothing_is_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    async with serving(answer("200 OK\r\nContent-Encoding: gzip", bomb)) as port:
        await expect(Refusal.BAD_STATUS, f"http://127.0.0.1:{port}/", tmp_path)


async def test_a_trickle_ends_with_the_time(tmp_path: Path) -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(trickle) as port:
        url = f"http://127.0.0.1:{port}/"
        await expect(Refusal.TOO_SLOW, url, tmp_path, total_seconds=0.5)


@pytest.mark.parametrize("head", ["404 Not Found", "500 Oops", "204 None", "304 Same", "206 Part"])
async def test_only_a_whole_answer_is_taken(tmp_path: Path, head: str) -> None:
    async with serving(answer(head)) as port:
        await expect(Refusal.BAD_STATUS, f"http://127.0.0.1:{port}/", tmp_path)


async def test_what_is_no_http_or_no_tls(tmp_path: Path) -> None:
    async with serving(answer("no status at all")) as port:
        await expect(Refusal.UNREACHABLE, f"http://127.0.0.1:{port}/", tmp_path)

    async def speak_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(speak_at_once, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await expect(Refusal.UNREACHABLE, f"https://127.0.0.1:{port}/", tmp_path)


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, self_signed: ssl.SSLContext
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await expect(Refusal.UNREACHABLE, f"https://localhost:{port}/", tmp_path)


async def test_the_environment_names_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://10.0.0.1:3128")
    monkeypatch.setenv("ALL_PROXY", "http://10.0.0.1:3128")
    async with serving(answer("200 OK", b"direct")) as port:
        assert (await take(f"http://127.0.0.1:{port}/", tmp_path)).size == 6
