"""`python -m tests.e2e.proxies`: the examples of `docs/examples/`, run before a true node.

Needs nginx, Caddy and openssl (`apt-get install nginx-light caddy openssl`). Of each file only the
ports, the certificate and the node's address are changed. Prints what was seen, or ends in a fault.
"""

import asyncio
import hashlib
import json
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from aitbc.cli.devnet.ports import find_free_port
from tests.architecture.sources import ROOT
from tests.support.holdings import Holdings, build_form, open_holdings

NAME: Final = "node.example.org"
ORIGIN: Final = "https://app.example.org"
VISITOR: Final = "127.0.0.2"
UPLOAD_BYTES: Final = 10 * 2**20
IDLE_SECONDS: Final = 35.0
"""Longer than the node leaves a socket without a ping."""
_EXAMPLES: Final = ROOT / "docs" / "examples"


class Visit:
    """A client of the proxy, over TLS, from an address of its own."""

    def __init__(self, url: str, session: aiohttp.ClientSession, holdings: Holdings) -> None:
        self.url = url
        self._session = session
        self._holdings = holdings

    def ask(self, method: str, path: str, who: str = "client", **sent: Any) -> Any:
        headers = {"Host": NAME, **self._holdings.keys.get(who, {}), **sent.pop("headers", {})}
        url = self.url + path
        return self._session.request(method, url, headers=headers, server_hostname=NAME, **sent)

    async def check_post(self) -> None:
        body = {"prompt": "Hello", "max_cost": "0.1"}
        async with self.ask("POST", "/v1/jobs", json=body) as reply:
            assert reply.status == 201, await reply.text()
            assert reply.headers["Strict-Transport-Security"]
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        async with self.ask("OPTIONS", "/v1/jobs", "nobody", headers=asked) as reply:
            assert reply.headers["Access-Control-Allow-Origin"] == ORIGIN, reply.headers

    async def check_upload(self) -> None:
        content = hashlib.shake_128(b"file").digest(UPLOAD_BYTES)
        async with self.ask("POST", "/v1/files", data=build_form(content)) as reply:
            made = await reply.json()
            assert reply.status == 201, made
        async with self.ask("GET", f"/v1/files/{made['file_id']}") as reply:
            assert await reply.read() == content

    async def check_stream(self) -> float:
        """Return by how many seconds a piece was read after it was sent, at most."""
        job = self._holdings.ids["leased"]
        has_read = asyncio.Event()
        sent_at: list[float] = []
        late: list[float] = []

        async def write() -> AsyncIterator[bytes]:
            for number in range(5):
                has_read.clear()
                sent_at.append(time.monotonic())
                yield json.dumps({"delta": f"piece {number} ", "progress": number}).encode() + b"\n"
                # The next goes out only once this one was read: whatever buffers stops here.
                await asyncio.wait_for(has_read.wait(), 10)

        async def send(offset: int) -> int:
            path = f"/v1/jobs/{job}/stream?miner_id=mine&offset={offset}"
            async with self.ask("POST", path, "miner", data=write()) as reply:
                return int((await reply.json())["length"])

        async def read(offset: int) -> None:
            path = f"/v1/jobs/{job}/stream?offset={offset}"
            async with self.ask("GET", path) as reply:
                assert reply.status == 200, await reply.text()
                async for line in reply.content:
                    if line.startswith(b"event: delta"):
                        late.append(time.monotonic() - sent_at[-1])
                        has_read.set()

        offset = await self._find_length(job)
        reader = asyncio.create_task(read(offset))
        await asyncio.sleep(0.5)
        await send(offset)
        reader.cancel()
        assert len(late) == 5, late
        return max(late)

    async def _find_length(self, job: str) -> int:
        path = f"/v1/jobs/{job}/stream?miner_id=mine&offset=0"
        async with self.ask("POST", path, "miner", data=b"") as reply:
            return int((await reply.json())["length"])

    async def check_socket(self) -> None:
        key = {"Host": NAME, **self._holdings.keys["client"]}
        async with self._session.ws_connect(
            self.url + "/ws", headers=key, server_hostname=NAME
        ) as socket:
            types = [(await socket.receive_json())["type"] for _ in range(2)]
            assert types == ["authenticated", "subscribed"], types
            await asyncio.sleep(IDLE_SECONDS)
            await socket.send_json({"type": "ping"})
            while (await socket.receive_json(timeout=10))["type"] != "pong":
                continue

    async def check_address(self) -> None:
        """What the client says of its address is not what the node takes it for."""
        sent = {"X-Request-Id": "who-am-i", "X-Forwarded-For": "203.0.113.9"}
        async with self.ask("DELETE", "/v1/jobs/job_0", headers=sent) as reply:
            assert reply.status == 404
        async with self.ask("GET", "/v1/audit/log?request_id=who-am-i", "operator") as reply:
            entry = (await reply.json())["entries"][0]
            assert entry["remote"] == VISITOR, entry


@asynccontextmanager
async def run_nginx(place: Path, api: str) -> AsyncIterator[str]:
    port, plain = find_free_port(), find_free_port()
    site = (_EXAMPLES / "nginx.conf").read_text()
    site = re.sub(r"/etc/ssl/\S+/", f"{place}/", site).replace("127.0.0.1:8001", api)
    site = site.replace("443", str(port)).replace("listen 80;", f"listen {plain};")
    site = site.replace("listen [::]:80;", f"listen [::]:{plain};")
    (place / "site.conf").write_text(site)
    paths = " ".join(
        f"{kind}_temp_path {place}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/nginx.pid; error_log {place}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {paths} include {place}/site.conf; }}\n"
    )
    async with _running("nginx", "-c", str(place / "nginx.conf"), "-p", str(place)):
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{plain}/livez"
            async with session.get(url, allow_redirects=False, headers={"Host": NAME}) as reply:
                assert (reply.status, reply.headers["Location"]) == (308, f"https://{NAME}/livez")
        yield f"https://127.0.0.1:{port}"


@asynccontextmanager
async def run_caddy(place: Path, api: str) -> AsyncIterator[str]:
    port = find_free_port()
    site = (_EXAMPLES / "Caddyfile").read_text().replace("127.0.0.1:8001", api)
    site = site.replace(
        f"{NAME} {{", f"https://{NAME}:{port} {{\n\ttls {place}/fullchain.pem {place}/privkey.pem"
    )
    options = (
        f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {place}\n}}\n"
    )
    (place / "Caddyfile").write_text(options + site)
    async with _running("caddy", "run", "--config", str(place / "Caddyfile")):
        yield f"https://127.0.0.1:{port}"


@asynccontextmanager
async def _running(*command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        await asyncio.sleep(1.5)
        assert process.returncode is None, f"{command[0]} ended by itself"
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _make_certificate(place: Path) -> ssl.SSLContext:
    process = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
        "-keyout", str(place / "privkey.pem"), "-out", str(place / "fullchain.pem"),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    return ssl.create_default_context(cafile=str(place / "fullchain.pem"))


async def check_all() -> None:
    for name, run in (("nginx", run_nginx), ("caddy", run_caddy)):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            context = await _make_certificate(place)
            async with open_holdings(place, cors_origins=ORIGIN) as holdings:
                api = holdings.node.url.removeprefix("http://")
                connector = aiohttp.TCPConnector(ssl=context, local_addr=(VISITOR, 0))
                async with (
                    run(place, api) as url,
                    aiohttp.ClientSession(connector=connector) as session,
                ):
                    visit = Visit(url, session, holdings)
                    await visit.check_post()
                    await visit.check_upload()
                    late = await visit.check_stream()
                    await visit.check_address()
                    await visit.check_socket()
        print(f"{name}: post, preflight, 10 MB up and down, text within {late * 1000:.0f} ms, "
              f"socket idle for {IDLE_SECONDS:.0f} s, the visitor's own address")  # fmt: skip


if __name__ == "__main__":
    asyncio.run(check_all())
