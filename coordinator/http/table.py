"""All routes of this package, in the order that they are documented. The node adds its own."""

from coordinator.http import (
    files,
    health,
    job_files,
    jobs,
    keys,
    miner_jobs,
    miners,
    pages,
    receipts,
    registry,
    services,
)
from coordinator.http.routing import Route
    webhooks,

ROUTES: tuple[Route, ...] = (
    *jobs.ROUTES,
    *miner_jobs.ROUTES,
    *miners.ROUTES,
    *receipts.ROUTES,
    *files.ROUTES,
    *job_files.ROUTES,
    *services.ROUTES,
    *registry.ROUTES,
    *keys.ROUTES,
    *health.ROUTES,
    *pages.ROUTES,
)
    *webhooks.ROUTES,
