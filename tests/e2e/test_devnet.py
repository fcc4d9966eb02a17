import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest

from aitbc.cli.devnet.ports import find_free_port
from aitbc.cli.devnet.supervisor import P2P_OFFSET
from tests.e2e.devnets import (
    STOP_SECONDS,
    Devnet,
    find_base_port,
    is_alive,
    run_command,
    running_devnet,
    wait_for,
)

NO_MINERS = ("--miners", "0")
VALIDATORS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("devnet") / "network"


@pytest.fixture(scope="module")
def devnet(folder: Path) -> Iterator[Devnet]:
    with running_devnet(folder, find_free_port(), *NO_MINERS) as running:
        yield running


def transfer(devnet: Devnet, amount: str, url: str | None = None) -> dict[str, object]:
    """Send money by the command, signed with a key of the network's own keystore."""
    state = devnet.state
    result = run_command(
        *("tx", "transfer", "--from", "client", "--to", "operator", "--amount", amount, "--json"),
        AITBC_API_URL=url or devnet.url,
        AITBC_KEYSTORE=state["keystore"],
        AITBC_KEYSTORE_PASSWORD_FILE=state["keystore_password_file"],
    )
    assert result.exit_code == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


@pytest.mark.slow
def test_the_state_file_says_where_everything_is(devnet: Devnet) -> None:
    state = devnet.state
    assert (devnet.folder / "devnet.json").stat().st_mode & 0o777 == 0o600
    (node,) = state["nodes"]
    assert state["ready"] is True
    assert node["p2p"].startswith("/ip4/127.0.0.1/tcp/")
    assert is_alive(node["pid"])
    for name in ("data", "database", "key_file", "log"):
        assert Path(node[name]).is_absolute() and Path(node[name]).exists()
    assert set(node["api_keys"]) == {"client", "miner", "operator"} == set(state["api_keys"])
    assert {"client", "miner", "operator", "validator-1"} <= set(state["accounts"])
    assert devnet.get("/v1/chain/status")["chain_id"] == state["chain_id"]
    genesis = json.loads(Path(state["genesis"]).read_text())
    assert (genesis["is_dev"], genesis["time"]) == (True, 1766828620000)
    for address in state["accounts"].values():
        assert int(devnet.get(f"/v1/accounts/{address}")["balance_base"]) > 10**12


@pytest.mark.slow
def test_the_commands_work_on_it(devnet: Devnet) -> None:
    operator = devnet.state["accounts"]["operator"]
    before = int(devnet.get(f"/v1/accounts/{operator}")["balance_base"])
    sent = transfer(devnet, "1.5")
    assert sent["status"] == "final"
    after = int(devnet.get(f"/v1/accounts/{operator}")["balance_base"])
    assert after - before == 1_500_000_000
    blocks = run_command("explorer", "blocks", "--json", "--api-url", devnet.url)
    assert json.loads(blocks.stdout)["blocks"][0]["height"] >= sent["height"]
    key = devnet.state["api_keys"]["client"]
    jobs = run_command("jobs", "list", "--json", AITBC_API_KEY=key, AITBC_API_URL=devnet.url)
    assert json.loads(jobs.stdout) == {"jobs": []}
    refused = run_command("jobs", "list", AITBC_API_KEY="aitbc_wrong", AITBC_API_URL=devnet.url)
    assert refused.exit_code == 31
    missing = run_command("jobs", "get", "job_00", AITBC_API_KEY=key, AITBC_API_URL=devnet.url)
    assert missing.exit_code == 31
    checked = run_command("node", "verify-chain", "--data", devnet.state["nodes"][0]["data"])
    assert checked.exit_code == 0, checked.stderr


@pytest.mark.slow
def test_a_second_network_stays_out_of_the_folder(devnet: Devnet) -> None:
    second = run_command("devnet", "--data", str(devnet.folder), *NO_MINERS)
    assert second.exit_code == 16
    assert is_alive(devnet.state["nodes"][0]["pid"])


@pytest.mark.slow
def test_it_stops_whole_goes_on_with_its_chain_and_outlives_a_killed_validator(
    devnet: Devnet, folder: Path
) -> None:
    first = transfer(devnet, "2")
    keys = devnet.state["api_keys"]
    seconds, left = devnet.stop(signal.SIGTERM)
    assert seconds < STOP_SECONDS
    assert left == set()
    assert devnet.process.returncode == 0
    with running_devnet(folder, find_free_port(), *NO_MINERS) as again:
        assert again.state["api_keys"] == keys
        assert again.get(f"/v1/transactions/{first['transaction_id']}")["height"] == first["height"]
        second = transfer(again, "3")
        assert int(str(second["height"])) > int(str(first["height"]))
        pid = again.state["nodes"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: "was ended by SIGKILL" in again.log.read_text())
        time.sleep(1)
        assert again.process.poll() is None
        assert again.find_pids() == {again.process.pid}
        seconds, left = again.stop(signal.SIGINT)
        assert seconds < STOP_SECONDS
        assert left == set()


@pytest.mark.slow
def test_a_ready_network_has_a_final_miner_which_ends_with_it(tmp_path: Path) -> None:
    with running_devnet(tmp_path / "network", find_free_port()) as devnet:
        (miner,) = devnet.state["miners"]
        assert miner["pid"] in devnet.find_pids()
        (listed,) = devnet.get("/explorer/miners")
        assert (listed["miner_id"], listed["is_active"]) == (miner["id"], True)
        seconds, left = devnet.stop()
        assert seconds < STOP_SECONDS
        assert left == set()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_validators_agree_outlive_one_and_let_a_fifth_node_follow(tmp_path: Path) -> None:
    ports = find_base_port(VALIDATORS + 1)
    folder = tmp_path / "network"
    with running_devnet(folder, ports, *NO_MINERS, "--validators", str(VALIDATORS)) as devnet:
        nodes = devnet.state["nodes"]
        assert len({node["p2p"] for node in nodes}) == VALIDATORS
        sent = transfer(devnet, "1.5", nodes[1]["api"])
        for node in nodes:
            wait_for(partial(is_final, node["api"], sent))
        os.kill(nodes[3]["pid"], signal.SIGKILL)
        sent = transfer(devnet, "2", nodes[2]["api"])
        wait_for(partial(is_final, nodes[0]["api"], sent))
        url = f"http://127.0.0.1:{ports + VALIDATORS}"
        with running_follower(tmp_path / "follower", devnet, ports + VALIDATORS):
            wait_for(partial(is_final, url, sent))
            sent = transfer(devnet, "3", url)
            assert is_final(url, sent)
            wait_for(partial(is_final, nodes[0]["api"], sent))
        seconds, left = devnet.stop()
        assert seconds < STOP_SECONDS
        assert left == set()


@contextlib.contextmanager
def running_follower(data: Path, devnet: Devnet, port: int) -> Iterator[None]:
    """Run a node that is no validator, which knows one address of the network."""
    state = devnet.state
    made = run_command(
        *(
            "node",
            "init",
            "--data",
            str(data),
            "--genesis",
            state["genesis"],
            "--key",
            "operator-4",
        ),
        *("--set", f"api_port={port}", "--set", f"p2p_listen=127.0.0.1:{port + P2P_OFFSET}"),
        *("--set", f"p2p_bootstrap={state['nodes'][0]['p2p']}"),
        *("--operator-key-file", str(data.with_suffix(".key"))),
        AITBC_KEYSTORE=state["keystore"],
        AITBC_KEYSTORE_PASSWORD_FILE=state["keystore_password_file"],
    )
    assert made.exit_code == 0, made.stderr
    command = [sys.executable, "-m", "aitbc.cli.main", "node", "run", "--data", str(data)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(timeout=STOP_SECONDS) == 0


def is_final(url: str, sent: dict[str, object]) -> bool:
    """Tell whether a node has a transfer in a final block, at the height that its sender saw."""
    with contextlib.suppress(httpx2.RequestError):
        answer = httpx2.get(f"{url}/v1/transactions/{sent['transaction_id']}", timeout=10)
        return answer.status_code == 200 and answer.json().get("height") == sent["height"]
    return False


@pytest.mark.parametrize("more", [(), ("--fresh",)])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    result = run_command("devnet", "--data", str(tmp_path), *more)
    assert result.exit_code == 3
    assert (tmp_path / "thesis.txt").read_text() == "precious"
