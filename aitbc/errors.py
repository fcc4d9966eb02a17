"""Decides which exception an answer of the API becomes, and what each one carries.

The API answers failures with problem documents (RFC 9457) whose `error_code` names the failure; on
the OpenAI-compatible paths the body is OpenAI's `{"error": {...}}`. A code picks the class, and
where a code has no class of its own the HTTP status does.
"""

from collections.abc import Mapping
from typing import Any, Final

from ledger.rejection import REJECTIONS, Rejection


class AITBCError(Exception):
    """Anything that this client raises on purpose."""


class ConnectionFailedError(AITBCError):
    """No answer came. `is_sent` tells whether the request may have reached the server."""

    def __init__(self, message: str, *, is_sent: bool) -> None:
        super().__init__(message)
        self.is_sent = is_sent


class RequestTimeoutError(ConnectionFailedError):
    """No answer came in time."""


class SocketClosedError(ConnectionFailedError):
    """The other side closed a WebSocket; `close_code` says why, where it said so."""

    def __init__(self, message: str, *, close_code: int | None) -> None:
        super().__init__(message, is_sent=True)
        self.close_code = close_code


class InvalidAnswerError(AITBCError):
    """The server answered with something that is not in its contract, or is over our limits."""


class WaitTimeoutError(AITBCError):
    """What was waited for did not happen in time; nothing was cancelled by that."""


class JobFailedError(AITBCError):
    """A job that was waited for failed or was cancelled; `job` is its last state."""

    def __init__(self, message: str, job: Any) -> None:
        super().__init__(message)
        self.job = job


class InvalidReceiptError(AITBCError):
    """A receipt, or the bundle that is to prove it, does not hold; `rejection` says which rule."""

    def __init__(self, message: str, rejection: Rejection | None = None) -> None:
        super().__init__(message)
        self.rejection = rejection


class SigningRefusedError(AITBCError):
    """What the node asks to have signed is not what was asked of it; nothing was signed."""


class APIError(AITBCError):
    """The server refused. `code` is the stable name of the reason, `problem` the whole document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        problem: Mapping[str, Any],
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.problem = dict(problem)
        self.retry_after = retry_after
        """Seconds to wait before the next try, where the server named them."""

    @property
    def request_id(self) -> str | None:
        """What to name when asking the operator about this failure."""
        value = self.problem.get("request_id")
        return value if isinstance(value, str) else None

    @property
    def errors(self) -> list[Any]:
        """The failures of single members, with JSON pointers, for a schema violation."""
        value = self.problem.get("errors")
        return value if isinstance(value, list) else []

    @property
    def rejection(self) -> Rejection | None:
        """The ledger's own reason, where the ledger refused a transaction."""
        number = self.problem.get("rejection")
        return REJECTIONS.get(number) if isinstance(number, int) else None


class BadRequestError(APIError):
    """400: malformed, or a request that can never be right."""


class InvalidJobTypeError(BadRequestError):
    """400: no service is of this type."""


class AuthenticationError(APIError):
    """401: the API key is missing or unknown."""


class InsufficientBalanceError(APIError):
    """402: the account cannot pay; nothing was queued."""


class PermissionDeniedError(APIError):
    """403: the key's role may not do this."""


class NotFoundError(APIError):
    """404: absent, or another account's, which looks the same."""


class JobNotFoundError(NotFoundError):
    """404: no such job."""


class ConflictError(APIError):
    """409: the request contradicts the present state."""


class JobAlreadyCompletedError(ConflictError):
    """409: the job has ended and never changes again."""


class JobAlreadyClaimedError(ConflictError):
    """409: another miner holds the lease."""


class JobNotCompletedError(ConflictError):
    """409: the job has no result yet."""


class NoCapableMinerError(ConflictError):
    """409: no miner offers the model now."""


class GoneError(APIError):
    """410: it existed and does not any more."""


class OfferNotAvailableError(GoneError):
    """410: the offer was taken or withdrawn."""


class TooLargeError(APIError):
    """413: the body is over the server's limit."""


class MisdirectedError(APIError):
    """421: this key's account lives at another coordinator, which the problem names."""


class UnprocessableError(APIError):
    """422: the request breaks the schema, or reuses an idempotency key for another body."""


class SignatureNeededError(UnprocessableError):
    """422: the account signs by itself, which a client with a wallet does for it."""


class RateLimitError(APIError):
    """429: too many requests; `retry_after` says how long to wait."""


class ServerError(APIError):
    """5xx: the server's own failure."""


class UnavailableError(ServerError):
    """503: the node is not in step with the chain, or is going down."""

    @property
    def behind_by(self) -> int | None:
        """How many blocks the node is behind, where it says so."""
        value = self.problem.get("behind_by")
        return value if isinstance(value, int) else None


CLASS_OF_CODE: Final[Mapping[str, type[APIError]]] = {
    "INVALID_JOB_TYPE": InvalidJobTypeError,
    "INSUFFICIENT_BALANCE": InsufficientBalanceError,
    "JOB_NOT_FOUND": JobNotFoundError,
    "JOB_ALREADY_COMPLETED": JobAlreadyCompletedError,
    "JOB_ALREADY_CLAIMED": JobAlreadyClaimedError,
    "JOB_NOT_COMPLETED": JobNotCompletedError,
    "NO_CAPABLE_MINER": NoCapableMinerError,
    "OFFER_NOT_AVAILABLE": OfferNotAvailableError,
    "RATE_LIMIT_EXCEEDED": RateLimitError,
    "SIGNATURE_NEEDED": SignatureNeededError,
}

CLASS_OF_STATUS: Final[Mapping[int, type[APIError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientBalanceError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    413: TooLargeError,
    421: MisdirectedError,
    422: UnprocessableError,
    429: RateLimitError,
    503: UnavailableError,
}


def build_api_error(status: int, body: object, retry_after: float | None) -> APIError:
    """Return the exception for an answer of status 400 or above; `body` is what its JSON held."""
    problem: dict[str, Any] = body if isinstance(body, dict) else {}
    inner = problem.get("error")
    if isinstance(inner, dict):  # OpenAI's shape
        problem = {**inner, "error_code": inner.get("code"), "detail": inner.get("message")}
    code = problem.get("error_code")
    detail = problem.get("detail") or problem.get("title")
    name = code if isinstance(code, str) and code else f"HTTP_{status}"
    by_status = CLASS_OF_STATUS.get(status, ServerError if status >= 500 else APIError)
    kind = CLASS_OF_CODE.get(name, by_status)
    return kind(status, name, str(detail or "no detail given"), problem, retry_after)
