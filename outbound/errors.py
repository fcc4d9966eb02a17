"""Why a request to an address that a stranger named came to nothing."""

from enum import StrEnum


class Refusal(StrEnum):
    """The kinds of failure; each is the other side's or the address's, never ours."""

    URL_REFUSED = "URL_REFUSED"
    """Not an http or https URL that may be asked at all."""
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    """The host has an address that is not of the public internet."""
    UNREACHABLE = "UNREACHABLE"
    """No such host, no connection, no TLS, or no HTTP."""
    TOO_SLOW = "TOO_SLOW"
    TOO_LARGE = "TOO_LARGE"
    BAD_STATUS = "BAD_STATUS"
    """The answer is no success, or one that cannot be taken as it is."""
    TOO_MANY_REDIRECTS = "TOO_MANY_REDIRECTS"


class OutboundError(Exception):
    """A request that was refused or that failed; the text names no content."""

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
