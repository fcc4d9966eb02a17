"""A real HTTP server on loopback: prepared answers in order, and a record of what was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Prepared(NamedTuple):
    """One answer. A body that is not bytes is sent as JSON; status 0 cuts the connection.

    With a `length` that the body has not, the connection breaks in the middle of it.
    """

    status: int = 200
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


class Asked(NamedTuple):
    """One request as it arrived; a body that is JSON by its type is read."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class ScriptedServer:
    """`answers` are used up from the front; the last one is given again and again."""

    def __init__(self, answers: list[Prepared]) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self.url = ""

    def take(self) -> Prepared:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serve(*answers: Prepared) -> Iterator[ScriptedServer]:
    script = ScriptedServer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            names = {name.lower(): value for name, value in self.headers.items()}
            is_json = names.get("content-type", "").endswith("json")
            body = json.loads(data) if data and is_json else data or None
            script.asked.append(Asked(self.command, self.path, names, body))
            prepared = script.take()
            if prepared.status == 0:
                self.close_connection = True
                self.connection.close()
                return
            raw = prepared.body
            if not isinstance(raw, bytes):
                raw = json.dumps(raw).encode()
            self.send_response(prepared.status)
            for name, value in prepared.headers:
                self.send_header(name, value)
            length = len(raw) if prepared.length is None else prepared.length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(raw)
            self.close_connection = self.close_connection or length != len(raw)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output for the test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
