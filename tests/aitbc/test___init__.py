import subprocess
import sys

import pytest

import aitbc
from aitbc import AITBCClient, AsyncAITBCClient, client


def test_the_clients_are_the_packages_own_names() -> None:
    assert AITBCClient is client.AITBCClient
    assert AsyncAITBCClient is client.AsyncAITBCClient


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        aitbc.no_such  # type: ignore[attr-defined]  # noqa: B018 - the look-up is the test


def test_the_package_loads_no_client_before_it_is_asked_for() -> None:
    code = "import sys, aitbc; print('aitbc.client' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
