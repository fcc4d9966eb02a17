from coordinator.principals import hash_key
from ledger.crypto import format_address
from tests.support.world import World, make_address


async def test_a_key_is_shown_once_and_can_be_revoked(world: World) -> None:
    made = await world.call("POST", "/v1/api-keys", "operator", {"role": "client", "label": "a"})
    assert made.status == 201, made
    key = made.json["key"]
    assert key.startswith("aitbc_")
    assert made.json["custody"] == "custodial"
    headers = {"X-Api-Key": key}
    assert (await world.call("GET", "/v1/jobs", headers=headers)).json["total"] == 0
    listed = await world.call("GET", "/v1/api-keys", "operator")
    assert made.json["key_id"] in [item["key_id"] for item in listed.json["keys"]]
    secret = key.rpartition("_")[2].encode()
    assert secret not in listed.body
    stored = await world.database.read(
        lambda c: c.exec_driver_sql("select * from coordinator_keys").fetchall()
    )
    assert key not in repr(stored)
    assert hash_key(key) in [row[3] for row in stored]
    path = f"/v1/api-keys/{made.json['key_id']}"
    assert (await world.call("DELETE", path, "operator")).status == 204
    assert (await world.call("GET", "/v1/jobs", headers=headers)).status == 401
    assert (await world.call("DELETE", path, "operator")).status == 404
    for wrong in ("x", "-1", "9" * 30, "%20"):
        assert (await world.call("DELETE", f"/v1/api-keys/{wrong}", "operator")).status == 404


async def test_a_key_for_an_account_that_signs_by_itself(world: World) -> None:
    address = format_address(make_address("somebody"))
    body = {"role": "miner", "address": address}
    made = await world.call("POST", "/v1/api-keys", "operator", body)
    assert (made.json["custody"], made.json["address"]) == ("self", address)
    known = {"role": "client", "address": format_address(world.people["client"].address)}
    second = await world.call("POST", "/v1/api-keys", "operator", known)
    assert second.json["custody"] == "custodial", "one account may have several keys"


async def test_only_an_operator_makes_keys(world: World) -> None:
    for who in ("client", "miner"):
        assert (await world.call("POST", "/v1/api-keys", who, {"role": "operator"})).status == 403
        assert (await world.call("GET", "/v1/api-keys", who)).status == 403
    for wrong in ({}, {"role": "admin"}, {"role": "client", "address": "ait1x"}, {"role": 1}):
        reply = await world.call("POST", "/v1/api-keys", "operator", wrong)
        assert reply.status == 422
