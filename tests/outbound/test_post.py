import asyncio

import pytest

from outbound.errors import OutboundError, Refusal
from outbound.post import post
from tests.outbound.test_fetch import answer, serving


async def test_the_message_arrives_and_the_status_is_told() -> None:
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readexactly(5))
        writer.write(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serving(serve) as port:
        url = f"http://127.0.0.1:{port}/hook"
        status = await post(url, b"hello", {}, total_seconds=5, allow_loopback=True)
    assert (status, bytes(received)) == (410, b"hello")


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with serving(answer("302 Found\r\nLocation: http://10.0.0.1/")) as port:
        url = f"http://127.0.0.1:{port}/"
        assert await post(url, b"x", {}, total_seconds=5, allow_loopback=True) == 302


async def test_a_message_goes_nowhere_inside() -> None:
    with pytest.raises(OutboundError) as caught:
        await post("http://127.0.0.1:8000/", b"x", {}, total_seconds=5)
    assert caught.value.reason is Refusal.ADDRESS_REFUSED


async def test_a_receiver_that_never_answers_ends_with_the_time() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with serving(serve) as port:
        url = f"http://127.0.0.1:{port}/"
        with pytest.raises(OutboundError) as caught:
            await post(url, b"x", {}, total_seconds=0.3, allow_loopback=True)
        assert caught.value.reason is Refusal.TOO_SLOW
