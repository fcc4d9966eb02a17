import socket

import pytest

from aitbc.cli.devnet.ports import HOST, check_port, find_free_port
from aitbc.cli.failures import CommandError


def test_a_free_port_can_be_used() -> None:
    check_port(find_free_port())


def test_a_taken_port_is_refused_with_another_one_to_try() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(CommandError) as refused:
            check_port(port)
    assert f"--base-port {port + 100}" in refused.value.next_step
