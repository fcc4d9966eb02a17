"""Log lines of the miner: one each on stderr, with the place in the code that wrote it.

No prompt, result or key is ever an argument of a log call.
"""

import logging
import sys

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder
from structlog.typing import EventDict, Processor, WrappedLogger

_PLACE = {
    CallsiteParameter.MODULE: "module",
    CallsiteParameter.FUNC_NAME: "function",
    CallsiteParameter.LINENO: "line",
}


def configure_logs(miner_id: str, *, is_json: bool) -> None:
    """Set up the logs of this process, for people or for machines."""

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"], event["miner"] = "miner", miner_id
        return event

    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if is_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            name_service,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            CallsiteParameterAdder(_PLACE.keys()),
            name_place,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def name_place(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Give the place the names that the node's lines have."""
    for parameter, name in _PLACE.items():
        event[name] = event.pop(parameter.value)
    return event
