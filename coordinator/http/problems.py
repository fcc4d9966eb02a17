"""The one shape of an error: `application/problem+json` (RFC 9457), and which status each gets."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from ledger.rejection import Rejected, Rejection

_STATUS_CODES: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    416: "RANGE_NOT_SATISFIABLE",
    421: "MISDIRECTED_REQUEST",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "NOT_IN_STEP",
}
_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    426: "Upgrade Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_REJECTION_STATUS: Final = {
    Rejection.TOO_LARGE: 422,
    Rejection.MEMPOOL_FULL: 503,
    Rejection.CANNOT_PAY_FEE: 402,
    Rejection.INSUFFICIENT_BALANCE: 402,
    Rejection.MINER_UNKNOWN: 404,
    Rejection.JOB_UNKNOWN: 404,
    Rejection.OFFER_UNKNOWN: 404,
    Rejection.OFFER_NOT_OWNED: 404,
    Rejection.OFFER_CANCELLED: 410,
    Rejection.OFFER_EXPIRED: 410,
    Rejection.OFFER_USED_UP: 410,
    Rejection.NONCE_USED: 409,
    Rejection.NONCE_GAP: 409,
    Rejection.REPLACEMENT_UNDERPRICED: 409,
}
_CODE_NAMES: Final = {
    Rejection.CANNOT_PAY_FEE: "INSUFFICIENT_BALANCE",
    Rejection.JOB_NOT_QUEUED: "JOB_ALREADY_CLAIMED",
    Rejection.JOB_TERMINAL: "JOB_ALREADY_COMPLETED",
    Rejection.JOB_UNKNOWN: "JOB_NOT_FOUND",
    Rejection.MINER_UNKNOWN: "MINER_NOT_FOUND",
    Rejection.OFFER_UNKNOWN: "OFFER_NOT_FOUND",
    Rejection.OFFER_NOT_OWNED: "OFFER_NOT_FOUND",
    Rejection.OFFER_CANCELLED: "OFFER_NOT_AVAILABLE",
    Rejection.OFFER_EXPIRED: "OFFER_NOT_AVAILABLE",
    Rejection.OFFER_USED_UP: "OFFER_NOT_AVAILABLE",
}


class Problem(Exception):
    """An error answer. `members` are extra members of the document, `headers` extra headers."""

    def __init__(
        self,
        status: int,
        detail: str,
        code: str | None = None,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.code = code or _STATUS_CODES.get(status, "ERROR")
        self.errors = errors
        self.members = dict(members or {})
        self.headers = dict(headers or {})


def not_found(what: str = "job") -> Problem:
    """Return the answer for what does not exist and for what is another's: they look alike."""
    return Problem(404, f"there is no such {what}", f"{what.upper().replace(' ', '_')}_NOT_FOUND")


def invalid(pointer: str, message: str) -> Problem:
    """Return the 422 for one member of the body, named by its JSON pointer."""
    return Problem(422, f"{pointer}: {message}", errors=[{"pointer": pointer, "message": message}])


def from_rejection(rejected: Rejected) -> Problem:
    """Return the answer for a refusal by the ledger's rules."""
    reason = rejected.reason
    status = _REJECTION_STATUS.get(reason, 409 if reason >= 100 else 422)
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Problem(
        status,
        rejected.detail,
        _CODE_NAMES.get(reason, reason.name),
        members={"rejection": int(reason)},
        headers=headers,
    )


def build_response(problem: Problem, instance: str, request_id: str) -> web.Response:
    """Return the problem as an answer."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "error_code": problem.code,
        "request_id": request_id,
        **problem.members,
    }
    if problem.errors:
        document["errors"] = list(problem.errors)
    return web.Response(
        status=problem.status,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
        headers=problem.headers,
    )
