import re

import pytest

from tests.support.world import World


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/api/docs", "/api/redoc"])
async def test_a_page_and_all_that_it_names_come_from_here(world: World, page: str) -> None:
    reply = await world.call("GET", page)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    text = reply.body.decode()
    assert "http" not in text
    names = re.findall(r'(?:src|href|spec-url)="([^"]+)"', text)
    for name in names:
        if name.startswith("data:"):
            continue
        part = await world.call("GET", page.rpartition("/")[0] + "/" + name)
        assert part.status == 200, name
        assert len(part.body) > 50


async def test_nothing_else_is_served(world: World) -> None:
    for name in ("swagger.html", "pages.py", "..%2fpages.py", "%2e%2e"):
        assert (await world.call("GET", f"/docs/{name}")).status == 404


async def test_a_page_is_not_sent_twice(world: World) -> None:
    first = await world.call("GET", "/docs/swagger-ui.css")
    again = await world.call(
        "GET", "/docs/swagger-ui.css", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert again.status == 304
