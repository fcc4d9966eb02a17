"""The network's process writes what it logs in the form that the node's logs have."""

import json

import pytest

from p2p.interface import NetworkSettings
from p2p.process import ProcessEngine, ProcessNetwork
from tests.p2p.networks import identify


async def test_its_lines_are_those_of_a_service(capfd: pytest.CaptureFixture[str]) -> None:
    settings = NetworkSettings("127.0.0.1", 0, bootstrap=("nowhere",), is_open=False)
    arguments = ("-m", "node.network_process", "info", "json")
    network = ProcessNetwork(identify(1), settings, ProcessEngine(identify(1), settings, arguments))
    await network.start()
    await network.close()
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = (json.loads(text) for text in captured.err.splitlines())
    expected = {"service": "network", "event": "not an address", "address": "nowhere"}
    assert expected.items() <= line.items()
    assert {"module", "function", "line", "timestamp", "level"} <= line.keys()
