"""Moments as people give them and as they are shown. A time without a zone is an error: it names no moment."""

import re
from datetime import UTC, datetime
from typing import Any

import click

EPOCH_MS_MAX = 2**53 - 1
FAR_PAST_MS, FAR_FUTURE_MS = 0, EPOCH_MS_MAX
_DIGITS = re.compile(r"\d{1,16}")


def parse(text: str) -> int:
    """Milliseconds since the epoch: ISO 8601 with a zone, or the number itself. Raises ValueError, saying what is wrong."""
    if _DIGITS.fullmatch(text):
        if len(text) < 12:
            raise ValueError(f"{text} as milliseconds since 1970 would be {show(int(text))}; seconds are not taken")
        if int(text) > EPOCH_MS_MAX:
            raise ValueError(f"{text} is too large")
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is neither ISO 8601 with a zone nor milliseconds since 1970") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no zone: add Z or an offset, as in {text if 'T' in text else text + 'T00:00'}Z")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
    if milliseconds < 0:
        raise ValueError(f"{text!r} is before 1970")
    return milliseconds


def show(at_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds; the number itself where that has no date."""
    try:
        moment = datetime.fromtimestamp(at_ms // 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(at_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1_000:03d}Z"


class Moment(click.ParamType):
    """A flag's value that is a moment; the command gets milliseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds since the epoch."""
        if isinstance(value, int):
            return value
        try:
            return parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


MOMENT = Moment()
