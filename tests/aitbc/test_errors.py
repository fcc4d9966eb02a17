"""Which exception an error answer becomes."""

import pytest

from aitbc import errors
from aitbc.errors import build_api_error
from ledger.rejection import Rejection


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_JOB_TYPE", errors.InvalidJobTypeError),
        (400, "BAD_REQUEST", errors.BadRequestError),
        (401, "UNAUTHORIZED", errors.AuthenticationError),
        (402, "INSUFFICIENT_BALANCE", errors.InsufficientBalanceError),
        (404, "MINER_NOT_FOUND", errors.NotFoundError),
        (409, "JOB_ALREADY_CLAIMED", errors.JobAlreadyClaimedError),
        (409, "NONCE_USED", errors.ConflictError),
        (410, "OFFER_NOT_AVAILABLE", errors.OfferNotAvailableError),
        (421, "MISDIRECTED_REQUEST", errors.MisdirectedError),
        (418, "TEAPOT", errors.APIError),
        (500, "INTERNAL_ERROR", errors.ServerError),
        (503, "NOT_IN_STEP", errors.UnavailableError),
    ],
)
def test_code_then_status_pick_the_class(
    status: int, code: str, kind: type[errors.APIError]
) -> None:
    error = build_api_error(status, {"error_code": code, "detail": "why"}, None)
    assert type(error) is kind
    assert (error.code, error.detail) == (code, "why")


def test_the_members_of_a_problem_are_kept() -> None:
    body = {
        "error_code": "NONCE_USED",
        "rejection": int(Rejection.NONCE_USED),
        "request_id": "r1",
        "errors": [{"pointer": "/a"}],
        "behind_by": 4,
    }
    error = build_api_error(503, body, 1.5)
    assert error.rejection is Rejection.NONCE_USED
    assert (error.request_id, error.errors, error.retry_after) == ("r1", body["errors"], 1.5)
    assert isinstance(error, errors.UnavailableError)
    assert error.behind_by == 4


def test_openais_shape_is_read() -> None:
    body = {"error": {"message": "no such model", "type": "x", "param": None, "code": "NO_MODEL"}}
    error = build_api_error(404, body, None)
    assert (error.code, error.detail) == ("NO_MODEL", "no such model")


@pytest.mark.parametrize("body", [None, [], "text", {"error_code": 3, "rejection": 9999}])
def test_an_unreadable_body_still_makes_an_error(body: object) -> None:
    error = build_api_error(502, body, None)
    assert error.code == "HTTP_502"
    assert error.rejection is None
