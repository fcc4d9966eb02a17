import msgspec
import pytest

from ledger import codec
from ledger.parameters import Parameters
from ledger.rejection import Rejected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("coordinator_share", 10_001),
        ("network_share", 10_001),
        ("maximum_leases", 0),
        ("maximum_attempts", 0),
        ("maximum_attempts", 9),
        ("maximum_deadlines", 0),
        ("maximum_deadlines", 4_097),
        ("minimum_bond", 2**63),
        ("outage_gap", 2**48),
    ],
)
def test_a_parameter_out_of_bounds_is_refused(field: str, value: int) -> None:
    data = codec.encode(msgspec.structs.replace(Parameters(), **{field: value}))
    with pytest.raises(Rejected):
        codec.decode(data, Parameters, 1_000)


def test_the_defaults_are_in_bounds_and_leave_the_miner_something() -> None:
    parameters = Parameters()
    assert codec.decode(codec.encode(parameters), Parameters, 1_000) == parameters
    assert parameters.coordinator_share + parameters.network_share < 10_000
    assert parameters.lapse_penalty * parameters.maximum_leases <= parameters.minimum_bond
    assert parameters.heartbeat_interval < parameters.outage_gap
