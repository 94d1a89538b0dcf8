"""The one table of metrics: everything that any part of the product counts, with units in the names and bounded labels.

Collectors, dashboard, alerts and `docs/observability.md` are made from it. It measures nothing and imports no client library.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from b3iq_schemas.codes import LEAVES, Refusal
from b3iq_schemas.topics import INPUTS

OTHER = "other"
"""The label value of whatever is not in its label's bounds: a code of a newer worker, say."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

DIFFERENCES = ("fold_differs", "state_differs")
"""Notices that say: what was recorded is not what the fold gives."""
REBUILDS = (
    "chain_truncated", "checkpoint_head_not_in_log", "checkpoint_unreadable", "checkpoint_void", "inputs_expired",
    "inputs_truncated", "no_anchor_in_log", "policy_unknown", "recorded_by_another_fold",
)  # fmt: skip
"""Notices, or exits, of an owner that could not believe its checkpoint or its chain."""
OWNER_EXITS = ("clock_wrong", "deposed", "input_expired", "input_truncated", "mark_refused", "processor_key_not_listed")
LOG_LOST = ("input_expired", "input_truncated")
"""Exits of an owner whose inputs lack what it must read: it would end again after each start."""
WORKER_EXITS = ("configuration", "ended", "stalled", "unexpected")

BROKEN_CHECKS = tuple(code for code in LEAVES if code.endswith("_check_error"))
"""Leaf codes of a check that raised: it blocks, and it is a defect of this product."""

Bound = frozenset[str] | re.Pattern[str]
"""A label's values: these, or those that match; all else is `OTHER`."""


class Kind(StrEnum):
    """As Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """A metric without its `_total`; `question` = what an operator asks it."""

    name: str
    kind: Kind
    help: str
    question: str
    labels: Mapping[str, Bound] = MappingProxyType({})
    buckets: tuple[float, ...] = SECONDS

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which it is queried."""
        match self.kind:
            case Kind.COUNTER:
                return (f"{self.name}_total",)
            case Kind.HISTOGRAM:
                return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


_PARTITION: dict[str, Bound] = {"partition": re.compile(r"\d{1,5}")}
_LEAF: dict[str, Bound] = {"code": frozenset(LEAVES)}
_NOTICE: dict[str, Bound] = {
    "level": frozenset({"info", "warning", "alarm"}),
    "code": frozenset({*DIFFERENCES, *REBUILDS}),
}
_EXIT: dict[str, Bound] = {"code": frozenset({*OWNER_EXITS, *WORKER_EXITS, *REBUILDS})}
_TOPIC: dict[str, Bound] = {"topic": frozenset(INPUTS)}
_ROUTE: dict[str, Bound] = {"route": re.compile(r"none|/[\w/{}:.-]{0,99}")}
_WRONG, _FRESH = "is anything granted wrongly", "is the view fresh"
_WHY, _TIME = "who is blocked why", "where is the time going"
QUESTIONS = (_WRONG, _FRESH, _WHY, _TIME)
C, G, H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

PROCESSOR = (
    Metric("b3iq_events_admitted", C, "Facts admitted by own epochs", _WHY, _TOPIC),
    Metric("b3iq_events_refused", C, "Records refused by own epochs", _WHY, {"code": frozenset(Refusal)}),
    Metric("b3iq_epochs", C, "Epochs seen accepted", _FRESH, {"proposed_by": frozenset({"self", "other"})}),
    Metric("b3iq_contested_epochs", C, "Epochs of somebody else accepted while live here", _WRONG),
    Metric("b3iq_epoch_seconds", H, "Intake handed over to epoch acknowledged", _TIME),
    Metric("b3iq_verify_batch_seconds", H, "Signature checks of one fetched batch", _TIME),
    Metric("b3iq_lag_records", G, "Records known at the inputs' ends and not yet taken", _FRESH, _PARTITION),
    Metric("b3iq_resolved_lag_seconds", G, "Now minus resolved time of the head", _FRESH, _PARTITION),
    Metric("b3iq_recovery_seconds", G, "Assigned to live, last time", _TIME, _PARTITION),
    Metric("b3iq_profiles_eligible", G, "Profiles eligible for paid traffic", _WRONG, _PARTITION),
    Metric("b3iq_profiles_lost", C, "Profiles that own epochs took eligibility from", _WRONG),
    Metric("b3iq_policy_revision", G, "Policy revision of the head", _WRONG, _PARTITION),
    Metric("b3iq_changes", C, "Changes of own epochs by leaf code, `eligible` for those that opened", _WHY,
           {"code": frozenset({*LEAVES, "eligible"})}),
    Metric("b3iq_refreshed_keys", C, "Unchanged keys published again", _FRESH),
    Metric("b3iq_checkpoint_records", C, "Records written to the checkpoint", _TIME),
    Metric("b3iq_notices", C, "What owners had to say", _WRONG, _NOTICE),
    Metric("b3iq_notice_timestamp_seconds", G, "Unix time of the last notice", _WRONG, _NOTICE),
    Metric("b3iq_exits", C, "Processes that ended themselves, from the note in the data directory", _FRESH, _EXIT),
    Metric("b3iq_exit_timestamp_seconds", G, "Unix time of the last such exit", _FRESH, _EXIT),
)  # fmt: skip
"""What a worker serves."""

CATALOG = (
    Metric("b3iq_catalog_requests", C, "Requests", _TIME, {**_ROUTE, "status": re.compile(r"[1-5]\d\d")}),
    Metric("b3iq_catalog_request_seconds", H, "Request to answer", _TIME, _ROUTE),
    Metric("b3iq_catalog_ready", G, "1 while claims are made", _FRESH),
    Metric("b3iq_catalog_resolved_lag_seconds", G, "Now minus resolved time", _FRESH, _PARTITION),
    Metric("b3iq_catalog_profiles", G, "Profiles shown", _WHY),
    Metric("b3iq_catalog_eligible", G, "Profiles claimed eligible", _WRONG),
    Metric("b3iq_catalog_blocked", G, "Profiles that a code keeps from paid traffic", _WHY, _LEAF),
    Metric("b3iq_catalog_readers", G, "Readers of changes", _TIME),
    Metric("b3iq_catalog_listings_composed", G, "How often the list of models was made", _TIME),
)
"""What the catalog serves."""

METRICS = {metric.name: metric for metric in (*PROCESSOR, *CATALOG)}
SERIES = {series for metric in METRICS.values() for series in metric.series}


def bounded(bound: Bound, value: object) -> str:
    """The label value, or `OTHER` when it is out of bounds."""
    text = str(value)
    known = text in bound if isinstance(bound, frozenset) else bound.fullmatch(text) is not None
    return text if known else OTHER
