"""Log lines of the service and the workers: one event per line, for people or for machines."""

from __future__ import annotations

import logging
import sys

import structlog

from jobs.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Let this process log to standard error, in the format and from the level that the settings name."""
    machines = settings.log_format == "json"
    # structlog's own tracebacks show local variables, such as settings with the password of Redis.
    people = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    renderer = structlog.processors.JSONRenderer() if machines else people
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if machines else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
