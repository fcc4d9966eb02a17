"""Whether this process lives and whether it is in step: for people, balancers and supervisors."""

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from coordinator import wire
from coordinator.coordinator import Coordinator
from coordinator.http.job_models import Parameters, Shown
from coordinator.http.problems import Problem
from coordinator.http.routing import PUBLIC, Answer, Bucket, Call, Route

MAX_BEHIND = 5
"""Heights behind the network's from which on the node is not in step."""


class Health(Shown):
    status: str
    version: str


class DetailedHealth(Health):
    environment: str
    timestamp: str
    services: dict[str, str]


class Readiness(Shown):
    status: str
    checks: dict[str, bool]
    height: int
    behind_by: int
    peers: int


class ReadyQuery(Parameters):
    verbose: str | None = None


async def _check_database(call: Call) -> bool:
    try:
        await call.coordinator.storage.read(
            lambda connection: connection.execute(text("select 1")).scalar()
        )
    except (SQLAlchemyError, OSError):
        return False
    return True


async def _run_checks(call: Call) -> dict[str, bool]:
    behind = call.coordinator.chain.get_status().behind_by
    return {"database": await _check_database(call), "blockchain": behind <= MAX_BEHIND}


def require_in_step(coordinator: Coordinator) -> None:
    """Raise `Problem(503)` while the chain has gone on without this node."""
    behind = coordinator.chain.get_status().behind_by
    if behind > MAX_BEHIND:
        raise Problem(
            503,
            f"this node is {behind} heights behind the network and catches up",
            members={"behind_by": behind},
            headers={"Retry-After": "1"},
        )


async def get_health(call: Call) -> Answer:
    checks = await _run_checks(call)
    status = "ok" if all(checks.values()) else "degraded"
    return Answer(Health(status=status, version=call.coordinator.version))


async def get_detailed_health(call: Call) -> Answer:
    checks = await _run_checks(call)
    words = {name: "healthy" if is_well else "unhealthy" for name, is_well in checks.items()}
    # The marketplace is the chain's own state, read through the database.
    words["marketplace"] = "healthy" if all(checks.values()) else "unhealthy"
    return Answer(
        DetailedHealth(
            status="ok" if all(checks.values()) else "degraded",
            version=call.coordinator.version,
            environment=call.coordinator.environment,
            timestamp=wire.format_time(call.coordinator.get_now()),
            services=words,
        )
    )


async def get_live(call: Call) -> web.Response:
    return web.Response(text="ok\n")


async def get_ready(call: Call) -> Answer | web.Response:
    checks = await _run_checks(call)
    status = call.coordinator.chain.get_status()
    if not all(checks.values()):
        raise Problem(
            503,
            "the node is not in step",
            members={"behind_by": status.behind_by, "checks": checks},
            headers={"Retry-After": "5"},
        )
    if call.get_query(ReadyQuery).verbose is None:
        return web.Response(text="ok\n")
    return Answer(
        Readiness(
            status="ok",
            checks=checks,
            height=status.height,
            behind_by=status.behind_by,
            peers=status.peers,
        )
    )


ROUTES = (
    Route(
        "GET", "/health", get_health, "Whether the service is well", "System",
        roles=PUBLIC, answers={200: Health}, bucket=Bucket.NONE,
    ),
    Route(
        "GET", "/v1/health", get_detailed_health, "Which parts are well", "System",
        roles=PUBLIC, answers={200: DetailedHealth}, bucket=Bucket.NONE,
    ),
    Route(
        "GET", "/livez", get_live, "Whether the process lives", "System",
        roles=PUBLIC, bucket=Bucket.NONE, content_type="text/plain",
    ),
    Route(
        "GET", "/readyz", get_ready, "Whether the node is in step", "System",
        roles=PUBLIC, query=ReadyQuery, answers={200: Readiness}, bucket=Bucket.NONE,
        content_type="text/plain",
    ),
)  # fmt: skip
