"""A worker of the older network, independent of everything here: `urllib` and the poll protocol.

It knows five requests and two headers, sends whatever such workers send, and takes of an answer
only what that protocol names.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

SECONDS = 40.0
"""For one request; a poll waits inside it."""


class Answer(NamedTuple):
    """A status, and the JSON that came with it."""

    status: int
    body: Any


class DeployedWorker:
    """One worker with a shared key and a name; `run` computes a payload's answer."""

    def __init__(self, url: str, key: str, name: str, run: Callable[[str, str], str]) -> None:
        self._url = url
        self._headers = {
            "X-Api-Key": key,
            "X-Miner-ID": name,
            "Content-Type": "application/json",
        }
        self._run = run

    def send(self, path: str, body: Any) -> Answer:
        """Post JSON and return what came, errors too."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._url}/v1/miners{path}", data=data, headers=self._headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as response:
                text = response.read()
                return Answer(response.status, json.loads(text) if text else None)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.loads(error.read()))

    def register(self, models: list[str]) -> Answer:
        found = {
            "gpus": [{"name": "NVIDIA RTX 4060 Ti", "memory_mb": 16_380, "consumer_grade": True}],
            "cuda": "550.54.15",
            "models": models,
            "price": 0.01,
            "region": "localhost",
            "platform": "CUDA",
            "supported_tasks": ["inference", "training"],
            "max_concurrent_jobs": 1,
        }
        return self.send(
            "/register", {"capabilities": found, "concurrency": 1, "region": "localhost"}
        )

    def beat(self) -> Answer:
        measured = {
            "status": "active",
            "inflight": 0,
            "current_jobs": 0,
            "last_seen": datetime.now(UTC).isoformat(),
            "gpu_utilization": 3,
            "memory_used": 512,
            "memory_total": 16_380,
            "architecture": "ada_lovelace",
            "edge_optimized": True,
            "network_latency_ms": 1.25,
            "metadata": {"version": "0.1.0", "queue": []},
        }
        return self.send("/heartbeat", measured)

    def poll(self, seconds: int = 20) -> dict[str, Any] | None:
        """Return the next job, None where there is none in time."""
        answer = self.send("/poll", {"max_wait_seconds": seconds})
        if answer.status == 204:
            return None
        assert answer.status == 200, answer
        job: dict[str, Any] = answer.body
        return job

    def work(self, job: dict[str, Any]) -> Answer:
        """Run a job and hand its result in, or say that it failed."""
        payload = job["payload"]
        path = f"/{job['job_id']}"
        if payload.get("type") != "inference":
            failure = {
                "error_code": "UNSUPPORTED",
                "error_message": f"no {payload.get('type')} here",
                "metrics": {},
            }
            return self.send(path + "/fail", failure)
        output = self._run(payload["model"], payload["prompt"])
        result = {
            "status": "completed",
            "output": output,
            "model": payload["model"],
            "tokens_processed": len(output.split()),
            "execution_time": 0.37,
            "gpu_used": True,
        }
        metrics = {"gpu_utilization": 71, "memory_used": 2_048, "memory_peak": 2_048}
        return self.send(path + "/result", {"result": result, "metrics": metrics})
