"""What the audit log says of a request: who, which route, which objects, and how it ended.

Made of the route, the key, the path and the answer's ids alone, so that no body can get into it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from pydantic import RootModel

from coordinator.audit import Line
from coordinator.coordinator import Coordinator
from coordinator.http.remote import find_remote
from coordinator.http.routing import Answer, Route
from coordinator.principals import Principal

CLIENT_GONE: Final = 499
"""Noted as the status where the client did not wait for one."""
_TOO_MANY: Final = 429
"""Not noted: the line would cost what the limit spares."""
_MADE: Final = (
    "job_id", "file_id", "offer_id", "miner_id", "webhook_id", "delivery_id", "key_id",
    "receipt_id", "transaction_id",
)  # fmt: skip
"""Members of an answer that name an object."""
_JOB_HEADER: Final = "AITBC-Job-Id"
_SHOWN: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_UNREADABLE: Final = "?"


class Trail:
    """One request of a route that is audited, from its beginning on."""

    def __init__(self, route: Route, coordinator: Coordinator) -> None:
        self._route = route
        self._coordinator = coordinator
        self._made: dict[str, str] = {}
        self.principal: Principal | None = None
        """Whose key it was, once that is known."""
        self.error_code: str | None = None

    def note_answer(self, answer: Answer | web.StreamResponse) -> None:
        """Note which objects an answer names."""
        if isinstance(answer, Answer):
            self._made = _find_made(answer.payload)
        if _JOB_HEADER in answer.headers:
            self._made["job_id"] = answer.headers[_JOB_HEADER]

    def end(self, request: web.Request, request_id: str, status: int) -> None:
        """Note how the request ended."""
        if status == _TOO_MANY or (status == 204 and request.method == "POST"):
            return  # a POST that finds nothing to do changes nothing
        principal = self.principal
        line = Line(
            time_ms=self._coordinator.get_now(),
            account_id=None if principal is None else principal.account_id,
            key_id=None if principal is None else principal.key_id,
            role=None if principal is None else principal.role.value,
            action=f"{self._route.method} {self._route.path}",
            objects={**_read_path(request.match_info), **self._made},
            status=status,
            error_code=self.error_code,
            request_id=request_id,
            remote=find_remote(request),
        )
        self._coordinator.audit.note(line)

    async def make_room(self) -> None:
        """Wait while too many lines wait."""
        await self._coordinator.audit.make_room()


def _read_path(path: Mapping[str, str]) -> dict[str, str]:
    return {name: text if _SHOWN.fullmatch(text) else _UNREADABLE for name, text in path.items()}


def _find_made(payload: Any) -> dict[str, str]:
    if isinstance(payload, RootModel):
        payload = payload.root
    members = payload if isinstance(payload, dict) else getattr(payload, "__dict__", {})
    found = ((name, members.get(name)) for name in _MADE)
    return {name: str(value) for name, value in found if isinstance(value, str | int)}
