"""What Prometheus scrapes."""

from aiohttp import web

from coordinator.http.routing import PUBLIC, Call, Route
from node.metrics import CONTENT_TYPE
from node.routes.reader import ChainReader


def build_routes(reader: ChainReader) -> tuple[Route, ...]:
    """Return the route of the metrics."""

    async def show_metrics(call: Call) -> web.Response:
        # Commits set the gauges; between two of them the mempool moves.
        reader.chain.show_head()
        return web.Response(body=reader.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return (
        Route(
            "GET", "/metrics", show_metrics, "Figures for Prometheus", "System",
            roles=PUBLIC, content_type="text/plain",
        ),
    )  # fmt: skip
