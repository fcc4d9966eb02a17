import json
import re
from pathlib import Path
from typing import get_args

import jsonschema

from coordinator.http.live_messages import CLOSE_REASONS, SAID, Close, Request
from coordinator.updates import UpdateType
from tests.support.live import DOCUMENT
from tests.support.world import World

SCHEMA = Path(__file__).parents[2] / "fixtures/asyncapi/schema-3.0.0.json"


def test_the_official_schema_of_asyncapi_3_accepts_the_document() -> None:
    schema = json.loads(SCHEMA.read_text())
    validator = jsonschema.Draft7Validator(schema)
    validator.validate(DOCUMENT)
    spoilt = json.loads(json.dumps(DOCUMENT))
    spoilt["operations"]["tell"]["action"] = "shout"
    assert not validator.is_valid(spoilt), "the schema must be able to refuse"


def test_every_message_of_the_code_is_described_and_no_other() -> None:
    asked = {shape.__struct_config__.tag for shape in get_args(Request)}
    assert set(DOCUMENT["components"]["messages"]) == {*asked, *map(str, SAID)}
    assert {str(kind) for kind in UpdateType} <= set(map(str, SAID))
    said = {each["$ref"].rsplit("/", 1)[1] for each in DOCUMENT["operations"]["tell"]["messages"]}
    assert said == set(map(str, SAID))


def test_every_reference_leads_somewhere() -> None:
    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found = DOCUMENT
                for part in value["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(DOCUMENT)


def test_every_code_has_a_reason_that_fits_a_close_frame() -> None:
    assert set(CLOSE_REASONS) >= set(Close)
    assert all(len(reason.encode()) <= 123 for reason in CLOSE_REASONS.values())
    assert DOCUMENT["x-close-codes"] == {
        str(int(code)): reason for code, reason in CLOSE_REASONS.items()
    }
    page = (Path(__file__).parents[3] / "docs/live.md").read_text()
    rows = re.findall(r"^\| (\d{4}) \| (.*) \|$", page, re.MULTILINE)
    assert dict(rows) == DOCUMENT["x-close-codes"]


async def test_the_document_is_served(world: World) -> None:
    for path in ("/asyncapi.json", "/api/asyncapi.json"):
        reply = await world.call("GET", path)
        assert reply.status == 200
        assert reply.json == DOCUMENT
