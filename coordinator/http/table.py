"""All routes of this package, in the order that they are documented. The node adds its own."""

from coordinator.http import (
    files,
    health,
    job_files,
    job_streams,
    jobs,
    keys,
    miner_jobs,
    miner_streams,
    miners,
    pages,
    receipts,
    registry,
    services,
    webhooks,
)
from coordinator.http.routing import Route

ROUTES: tuple[Route, ...] = (
    *jobs.ROUTES,
    *job_streams.ROUTES,
    *miner_jobs.ROUTES,
    *miner_streams.ROUTES,
    *miners.ROUTES,
    *receipts.ROUTES,
    *files.ROUTES,
    *job_files.ROUTES,
    *services.ROUTES,
    *registry.ROUTES,
    *webhooks.ROUTES,
    *keys.ROUTES,
    *health.ROUTES,
    *pages.ROUTES,
)
