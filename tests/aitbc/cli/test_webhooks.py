"""Webhooks on the command line, at a true node: made, told, turned over, given up."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.support.clients import served_node


async def test_a_webhook_from_its_secret_to_its_end(tmp_path: Path) -> None:
    received: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received.put_nowait((headers, await request.read()))
        return web.Response()

    receiver = web.Application()
    receiver.router.add_post("/hook", receive)
    runner = web.AppRunner(receiver, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    async with served_node(tmp_path / "n") as served, served.connect() as client:
        create = ("webhooks", "create", url, "--event", "job_update", "--event", "receipt_created")
        made = await served.read_command(*create)
        webhook, secret = made["webhook_id"], made["secret"]
        assert secret.startswith("whsec_")
        (listed,) = (await served.read_command("webhooks", "list"))["webhooks"]
        assert (listed["webhook_id"], "secret" in listed) == (webhook, False)
        tested = await served.read_command("webhooks", "test", webhook)
        assert tested["delivery_id"].startswith("delivery_")
        await client.jobs.create(prompt="Say hello.", max_cost="0.1")
        for _ in range(2):
            headers, body = await asyncio.wait_for(received.get(), 20)
            assert Webhook(secret).verify(body, headers)
            assert b"Say hello." not in body
        delivered = ("webhooks", "deliveries", webhook, "--state", "delivered")
        async with asyncio.timeout(20):
            while not (found := (await served.read_command(*delivered))["deliveries"]):
                pass
        await served.read_command("webhooks", "redeliver", webhook, found[0]["delivery_id"])
        headers, body = await asyncio.wait_for(received.get(), 20)
        file = tmp_path / "secret"
        rotated = await served.read_command("webhooks", "rotate", webhook, "-o", str(file))
        assert "secret" not in rotated
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(WebhookVerificationError):
            Webhook(file.read_text().strip()).verify(body, headers)
        assert (await served.run_command("webhooks", "delete", webhook)).exit_code == 0
        gone = await served.run_command("webhooks", "test", webhook)
        assert (gone.exit_code, gone.stdout) == (31, "")
    await runner.cleanup()
