"""Alert rules as data; `docs/runbook.md` has a section for each. An alarm tells people: it never opens or closes a gate."""

from typing import Any, NamedTuple

from b3iq_streams.observability.metrics import DIFFERENCES, OTHER, REBUILDS

RUNBOOK = "docs/runbook.md"
RESOLVED_LAG_MAX_S = 3
LOST_SHARE_MAX = 0.2
LOST_MIN = 5
REFUSED_PER_S_MAX = 1
NOTICE_S = 900
CONTESTED_MAX = 5

_DIFFERENT = "|".join((*DIFFERENCES, OTHER))
_REBUILT = "|".join(REBUILDS)
_BEFORE = "max by (partition) (max_over_time(b3iq_profiles_eligible[1m]))"
_NOW = "min by (partition) (b3iq_profiles_eligible)"
LOST_SHARE = f"sum({_BEFORE} - {_NOW}) / sum({_BEFORE})"
"""Of partitions that are still served: one that moves between workers loses nothing."""
REVISIONS = "max by (partition) (b3iq_policy_revision)"
LAG = "min by (partition) (b3iq_resolved_lag_seconds)"


class Alert(NamedTuple):
    """A rule: fires once `expr` gives anything for as long as `held`; `summary` may use Prometheus' templates."""

    name: str
    severity: str
    expr: str
    held: str
    summary: str

    @property
    def anchor(self) -> str:
        """Where the runbook explains it."""
        return f"{RUNBOOK}#{self.name.lower()}"


ALERTS = (
    Alert("B3iqResolvedLag", "page", f"{LAG} > {RESOLVED_LAG_MAX_S} or "
          f"max by (partition) (b3iq_catalog_resolved_lag_seconds) > {RESOLVED_LAG_MAX_S}", "30s",
          "Partition {{ $labels.partition }} is {{ $value | humanizeDuration }} behind: routers grant nothing of it"),
    Alert("B3iqTargetDown", "page", 'up{job=~"processor|catalog"} == 0', "1m",
          "{{ $labels.job }} {{ $labels.instance }} does not answer"),
    Alert("B3iqDecisionsDiffer", "page",
          f'time() - b3iq_notice_timestamp_seconds{{level="alarm",code=~"{_DIFFERENT}"}} < {NOTICE_S}', "0s",
          "{{ $labels.instance }}: what is recorded is not what the fold gives ({{ $labels.code }})"),
    Alert("B3iqChainContested", "page",
          f"increase(b3iq_contested_epochs_total[5m]) > {CONTESTED_MAX} or "
          "count by (partition) (b3iq_resolved_lag_seconds) > 1", "1m",
          "Two workers write the same chain"),
    Alert("B3iqRebuild", "ticket",
          f'time() - b3iq_notice_timestamp_seconds{{code=~"{_REBUILT}"}} < {NOTICE_S}', "0s",
          "{{ $labels.instance }} did not believe its checkpoint and rebuilt a state ({{ $labels.code }})"),
    Alert("B3iqMassChange", "page", f"{LOST_SHARE} > {LOST_SHARE_MAX} and sum({_BEFORE} - {_NOW}) >= {LOST_MIN}", "0s",
          "{{ $value | humanizePercentage }} of the eligible profiles were lost within a minute"),
    Alert("B3iqCatalogClaimsMore", "page", f"max(b3iq_catalog_eligible) > sum({_NOW})", "2m",
          "The catalog claims {{ $value }} profiles eligible, the processors fewer"),
    Alert("B3iqDeadLetters", "ticket",
          f"sum by (code) (rate(b3iq_events_refused_total[5m])) > {REFUSED_PER_S_MAX}", "5m",
          "{{ $value | humanize }} records a second are refused as {{ $labels.code }}"),
    Alert("B3iqPolicyPartial", "page", f"{REVISIONS} < scalar(max(b3iq_policy_revision))", "2m",
          "Partition {{ $labels.partition }} still folds under policy revision {{ $value }}"),
    Alert("B3iqWorkerExit", "ticket", f"time() - b3iq_exit_timestamp_seconds < {NOTICE_S}", "0s",
          "{{ $labels.instance }} ended itself and came back ({{ $labels.code }})"),
)  # fmt: skip


def rule_file() -> dict[str, Any]:
    """Prometheus' rule file as data."""
    return {"groups": [{"name": "b3iq", "interval": "15s", "rules": [_rule(alert) for alert in ALERTS]}]}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.held,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "runbook": alert.anchor},
    }
