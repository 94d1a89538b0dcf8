"""Structured logs to stderr: one line an event, with the partition, epoch and digest it belongs to.

Fields are those of `FIELDS`, nothing else; texts lose what looks like a key, a signature or a payload, and a traceback is
told by its frames and the error's type, without its message. Records of the standard library take the same way.
"""

import logging
import re
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

FIELDS = ("timestamp", "level", "logger", "event", "partition", "epoch", "digest", "code", "error", "frames")
"""What a line may carry."""
TEXT_MAX = 2_000
REMOVED = "[removed]"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SECRET = re.compile(
    r"\b[A-Za-z0-9+/_-]{32,}={0,2}"  # keys, signatures, digests, base64: nothing that a person reads is as long
    r"|[{\[].*[}\]]|(?<!\w)b?'[^']*'|(?<!\w)b?\"[^\"]*\"",  # JSON, and what repr() makes of bytes and texts
    re.DOTALL,
)


def configure(level: str, form: str | None) -> None:
    """Send logs to stderr from `level` on, as `json` or for the `console`; None: what fits where stderr goes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form or ("console" if sys.stderr.isatty() else "json")))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def formatter(form: str) -> logging.Formatter:
    """Formats records of the standard library as structured lines."""
    renderer = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False, sort_keys=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(FIELDS),
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[_told_by_frames, _only_allowed, renderer],
    )


def scrub(text: str) -> str:
    """The text without what could be a key, a signature or a payload, and not endless."""
    return _SECRET.sub(REMOVED, text[:TEXT_MAX])


def _told_by_frames(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """An error's type, and where it came from; its message could repeat what was sent."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple):
        info = info[1]
    error = info if isinstance(info, BaseException) else sys.exc_info()[1] if info else None
    if error is not None:
        event["error"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        event["frames"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def _only_allowed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Allowed fields in their order; a digest is a digest, numbers stay, all else is text without secrets."""
    return {field: _safe(field, event[field]) for field in FIELDS if field in event}


def _safe(field: str, value: Any) -> Any:
    if isinstance(value, int) or (field == "digest" and isinstance(value, str) and _DIGEST.fullmatch(value)):
        return value
    if field == "timestamp" or (field == "frames" and isinstance(value, list)):
        return value
    return scrub(str(value))
