"""One tree for both clients: the same names and signatures, blocking and awaited."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from aitbc import resources
from aitbc.client import AITBCClient, AsyncAITBCClient
from aitbc.endpoint import Endpoint, Resource, Series
from aitbc.job import BoundJob, JobMethods
from aitbc.models import Job

TREE = (
    "jobs", "receipts", "miners", "marketplace", "services", "registry", "explorer", "chain",
    "accounts", "files", "webhooks", "live",
)  # fmt: skip


def iterate_methods() -> Iterator[tuple[str, str, Any]]:
    for name in TREE:
        kind = getattr(resources, name.capitalize())
        for member, declared in vars(kind).items():
            if isinstance(declared, Endpoint | Series):
                yield name, member, declared


METHODS = list(iterate_methods())


def test_every_resource_is_in_the_tree() -> None:
    kinds = {
        kind for kind in vars(resources).values()
        if isinstance(kind, type) and issubclass(kind, Resource) and kind is not Resource
    }  # fmt: skip
    assert {kind.__name__.lower() for kind in kinds} == set(TREE)


@pytest.mark.parametrize(
    ("resource", "name", "declared"), METHODS, ids=[f"{each[0]}.{each[1]}" for each in METHODS]
)
async def test_a_method_is_called_alike_in_both_clients(
    resource: str, name: str, declared: Any
) -> None:
    async with AsyncAITBCClient("http://node") as awaited:
        with AITBCClient("http://node") as blocking:
            left, right = (getattr(getattr(c, resource), name) for c in (blocking, awaited))
    assert inspect.signature(left).parameters == inspect.signature(right).parameters
    assert "signer" not in inspect.signature(left).parameters
    assert left.__doc__ == right.__doc__ and left.__doc__.endswith((".", "\n    "))
    if isinstance(declared, Series):
        assert inspect.isgeneratorfunction(left)
        assert inspect.isasyncgenfunction(right)
    else:
        assert not inspect.iscoroutinefunction(left)
        assert inspect.iscoroutinefunction(right)


def test_a_jobs_own_methods_are_the_clients_for_this_job() -> None:
    names = {name for name in vars(JobMethods) if not name.startswith("_")}
    assert names - {"refresh"} <= set(vars(resources.Jobs))
    for name in names - {"refresh"}:
        own = inspect.signature(getattr(BoundJob, name).build).parameters
        whole = inspect.signature(getattr(resources.Jobs, name).build).parameters
        assert list(own) == [each for each in whole if each != "job_id"], name


def test_a_job_from_no_client_has_no_methods() -> None:
    assert not hasattr(Job(job_id="job_1", status="pending"), "wait")
