"""Log lines: one JSON object each on stderr, with the place in the code that wrote it.

No prompt, result, key or password is ever an argument of a log call; errors of parsers, which may
quote input, are logged by type. What libraries log comes in the same shape, without what they put
into their sentences.
"""

import logging
import sys
import traceback
from typing import Final, Literal

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder
from structlog.typing import EventDict, Processor, WrappedLogger

MAX_LIBRARY_EVENT: Final = 200
"""Characters."""
_PLACE: Final = "place"
_CALL_SITE: Final = CallsiteParameterAdder(
    [CallsiteParameter.MODULE, CallsiteParameter.FUNC_NAME, CallsiteParameter.LINENO]
)
_library_log = structlog.get_logger("library")


def configure_logs(service: str, level: str, style: Literal["json", "console"]) -> None:
    """Set up the logs of this process, its libraries' too."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        # A constant of the process, so that threads, which have contexts of their own, say it too.
        event["service"] = service
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_service,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _CALL_SITE,
            name_place,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[LibraryHandler()], level=logging.WARNING, force=True)
    # It writes a piece of each request that it cannot parse, which may be a prompt or a key.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def name_place(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the function and line that wrote a line, or that a library's line came from."""
    place = (event.pop("module"), event.pop("func_name"), event.pop("lineno"))
    event["module"], event["function"], event["line"] = event.pop(_PLACE, place)
    return event


class LibraryHandler(logging.Handler):
    """Writes what a library logs: the sentence without its arguments, an error by its type."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        # Not more than the first line: behind it asyncio describes tasks with their errors' texts.
        sentence = str(record.msg).partition("\n")[0][:MAX_LIBRARY_EVENT]
        members = {"library": record.name, _PLACE: (record.module, record.funcName, record.lineno)}
        if record.exc_info is not None and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            members["error"] = kind.__name__
            members["trace"] = "".join(traceback.format_tb(trace))
        say = _library_log.error if record.levelno >= logging.ERROR else _library_log.warning
        say(sentence, **members)
