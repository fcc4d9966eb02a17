import json

from openapi_pydantic import OpenAPI

from coordinator.http.openapi import build_document
from coordinator.http.table import ROUTES
from tests.support.world import World


def test_every_route_is_described() -> None:
    document = build_document(ROUTES, "1.2.3")
    assert document["openapi"].startswith("3.1")
    described = {(m.upper(), path) for path, item in document["paths"].items() for m in item}
    assert described == {(route.method, route.path) for route in ROUTES}
    names = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere() -> None:
    document = build_document(ROUTES, "1.2.3")
    schemas = document["components"]["schemas"]
    text = json.dumps(document)
    prefix = '"$ref": "#/components/schemas/'
    targets = {part.split('"')[0] for part in text.split(prefix)[1:]}
    assert targets <= set(schemas)
    assert text.count('"$ref"') == text.count(prefix)


async def test_the_document_is_served(world: World) -> None:
    reply = await world.call("GET", "/api/openapi.json")
    assert reply.status == 200
    OpenAPI.model_validate(reply.json)
    job = reply.json["paths"]["/v1/jobs"]["post"]
    assert job["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert reply.json["paths"]["/health"]["get"]["security"] == []
