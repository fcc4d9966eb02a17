"""Every route of the chain: the list that the node serves beside the job API."""

from coordinator.http.routing import Route
from node.routes import (
    accounts,
    chain,
    explorer,
    explorer_jobs,
    explorer_miners,
    explorer_offers,
    network,
    search,
    system,
    transactions,
)
from node.routes.reader import ChainReader
from node.services import Services

_MODULES = (
    chain, network, transactions, accounts, explorer, explorer_jobs, explorer_miners,
    explorer_offers, search, system,
)  # fmt: skip


def build_routes(services: Services) -> tuple[Route, ...]:
    """Return the routes, built on one reader of the chain."""
    reader = ChainReader(
        services.genesis, services.chain, services.port, services.driver, services.peers,
        services.metrics,
    )  # fmt: skip
    return tuple(route for module in _MODULES for route in module.build_routes(reader))
