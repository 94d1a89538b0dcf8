"""The Grafana dashboard: one row of panels for each question of an operator; PromQL over the table's series only."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from b3iq_streams.observability.metrics import METRICS, QUESTIONS
from b3iq_streams.observability.queries import CATALOG_ELIGIBLE, CATALOG_LAG, ELIGIBLE, LAG, LOST_SHARE, REVISIONS, by, series

SOURCE = {"type": "prometheus", "uid": "b3iq-prometheus"}
WIDTH, HEIGHT = 8, 7
COLUMNS = 24 // WIDTH


class Panel(NamedTuple):
    """`queries` = (PromQL, legend); `unit` is Grafana's; `metrics` = what it shows, from the table."""

    question: str
    title: str
    metrics: tuple[str, ...]
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"


def _quantiles(name: str, label: str = "") -> tuple[tuple[str, str], ...]:
    """Median and 99th percentile of a histogram."""
    legend = " {{" + label + "}}" if label else ""
    grouped = f"le, {label}" if label else "le"
    return tuple(
        (f"histogram_quantile({q}, sum by ({grouped}) (rate({name}_bucket[5m])))", f"p{int(q * 100)}{legend}")
        for q in (0.5, 0.99)
    )


def _rate(name: str, label: str) -> tuple[tuple[str, str], ...]:
    return ((by(label, "sum", f"rate({series(name)}[1m])"), "{{" + label + "}}"),)


_WRONG, _FRESH, _WHY, _TIME = QUESTIONS
PANELS = (
    Panel(_WRONG, "Alarms and other notices, last hour", ("b3iq_notices",),
          (("sum by (level, code) (increase(b3iq_notices_total[1h])) > 0", "{{level}} {{code}}"),)),
    Panel(_WRONG, "When the last notice was", ("b3iq_notice_timestamp_seconds",),
          (("max by (code) (b3iq_notice_timestamp_seconds) * 1000", "{{code}}"),), "dateTimeFromNow"),
    Panel(_WRONG, "Eligible: processors, and as the catalog claims", ("b3iq_profiles_eligible", "b3iq_catalog_eligible"),
          ((ELIGIBLE, "processors"), (CATALOG_ELIGIBLE, "catalog"))),
    Panel(_WRONG, "Share of eligible profiles lost within a minute", ("b3iq_profiles_lost", "b3iq_profiles_eligible"),
          ((LOST_SHARE, "lost"),), "percentunit"),
    Panel(_WRONG, "Epochs of another owner while live", ("b3iq_contested_epochs",),
          (("sum by (instance) (increase(b3iq_contested_epochs_total[5m]))", "{{instance}}"),)),
    Panel(_WRONG, "Policy revision by partition", ("b3iq_policy_revision",), ((REVISIONS, "{{partition}}"),)),
    Panel(_FRESH, "Resolved lag by partition", ("b3iq_resolved_lag_seconds", "b3iq_catalog_resolved_lag_seconds"),
          ((LAG, "processor {{partition}}"),
           (CATALOG_LAG, "catalog {{partition}}")), "s"),
    Panel(_FRESH, "Records known and not yet taken", ("b3iq_lag_records",),
          (("max by (partition) (b3iq_lag_records)", "{{partition}}"),)),
    Panel(_FRESH, "Catalog makes claims", ("b3iq_catalog_ready",), (("min(b3iq_catalog_ready)", "ready"),), "bool"),
    Panel(_FRESH, "Epochs a second", ("b3iq_epochs",), _rate("b3iq_epochs", "proposed_by")),
    Panel(_FRESH, "Keys refreshed a second", ("b3iq_refreshed_keys",),
          (("sum(rate(b3iq_refreshed_keys_total[1m]))", "refreshed"),)),
    Panel(_FRESH, "Processes that ended themselves", ("b3iq_exits", "b3iq_exit_timestamp_seconds"),
          (("b3iq_exits_total > 0", "{{instance}} {{code}}"),
           ("(time() - b3iq_exit_timestamp_seconds) / 3600", "hours ago: {{instance}} {{code}}"))),
    Panel(_WHY, "Changes a second by code", ("b3iq_changes",), _rate("b3iq_changes", "code")),
    Panel(_WHY, "Refused records a second by code", ("b3iq_events_refused",), _rate("b3iq_events_refused", "code")),
    Panel(_WHY, "Facts admitted a second", ("b3iq_events_admitted",), _rate("b3iq_events_admitted", "topic")),
    Panel(_WHY, "Profiles blocked now, by code", ("b3iq_catalog_blocked",),
          (("max by (code) (b3iq_catalog_blocked) > 0", "{{code}}"),)),
    Panel(_WHY, "Profiles shown", ("b3iq_catalog_profiles",), (("max(b3iq_catalog_profiles)", "profiles"),)),
    Panel(_TIME, "Epoch: intake to acknowledged", ("b3iq_epoch_seconds",), _quantiles("b3iq_epoch_seconds"), "s"),
    Panel(_TIME, "Signature checks of a batch", ("b3iq_verify_batch_seconds",), _quantiles("b3iq_verify_batch_seconds"), "s"),
    Panel(_TIME, "Recovery, last time", ("b3iq_recovery_seconds",),
          (("max by (partition) (b3iq_recovery_seconds)", "{{partition}}"),), "s"),
    Panel(_TIME, "Checkpoint records a second", ("b3iq_checkpoint_records",),
          (("sum(rate(b3iq_checkpoint_records_total[1m]))", "records"),)),
    Panel(_TIME, "Catalog requests a second", ("b3iq_catalog_requests",), _rate("b3iq_catalog_requests", "status")),
    Panel(_TIME, "Catalog answers", ("b3iq_catalog_request_seconds",), _quantiles("b3iq_catalog_request_seconds", "route"), "s"),
    Panel(_TIME, "Catalog readers, listings made", ("b3iq_catalog_readers", "b3iq_catalog_listings_composed"),
          (("sum(b3iq_catalog_readers)", "readers"), ("sum(b3iq_catalog_listings_composed)", "listings"))),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Grafana's dashboard as data."""
    return {
        "uid": "b3iq",
        "title": "b3iq eligibility",
        "tags": ["b3iq"],
        "timezone": "utc",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "panels": list(_laid_out()),
    }


def _laid_out() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for question in QUESTIONS:
        number += 1
        yield {"id": number, "type": "row", "title": f"{question.capitalize()}?", "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}}  # fmt: skip
        top += 1
        panels = [panel for panel in PANELS if panel.question == question]
        for place, panel in enumerate(panels):
            number += 1
            where = {"x": place % COLUMNS * WIDTH, "y": top + place // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield _panel(number, panel, where)
        top += -(-len(panels) // COLUMNS) * HEIGHT


def _panel(number: int, panel: Panel, where: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": " ".join(f"{METRICS[name].help}." for name in panel.metrics),
        "datasource": SOURCE,
        "gridPos": where,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend}
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }
