import pytest

from aitbc.cli.failures import explain_failure
from aitbc.errors import (
    AITBCError,
    ConnectionFailedError,
    InvalidAnswerError,
    JobFailedError,
    WaitTimeoutError,
    build_api_error,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionFailedError("refused", is_sent=False), 30),
        (build_api_error(503, {"error_code": "NOT_IN_STEP"}, None), 30),
        (build_api_error(500, None, None), 30),
        (build_api_error(400, {"error_code": "INVALID_JOB_TYPE"}, None), 31),
        (build_api_error(401, {}, None), 31),
        (build_api_error(402, {"error_code": "INSUFFICIENT_BALANCE"}, None), 31),
        (build_api_error(403, {"error_code": "ROLE_NOT_ALLOWED"}, None), 31),
        (build_api_error(409, {"error_code": "JOB_ALREADY_COMPLETED"}, None), 31),
        (build_api_error(404, {"error_code": "JOB_NOT_FOUND"}, None), 31),
        (build_api_error(409, {"error_code": "JOB_NOT_COMPLETED"}, None), 31),
        (build_api_error(422, {"errors": [{"pointer": "/prompt"}]}, None), 31),
        (build_api_error(429, {}, 7.0), 31),
        (JobFailedError("job_1 is failed", None), 32),
        (WaitTimeoutError("job_1 is still running"), 34),
        (InvalidAnswerError("not JSON"), 1),
    ],
)
def test_each_failure_has_its_code_and_a_next_step(error: AITBCError, code: int) -> None:
    failure = explain_failure(error)
    assert int(failure.code) == code
    assert failure.next_step


def test_a_schema_error_names_the_member() -> None:
    error = build_api_error(422, {"errors": [{"pointer": "/prompt"}]}, None)
    assert "/prompt" in explain_failure(error).message
