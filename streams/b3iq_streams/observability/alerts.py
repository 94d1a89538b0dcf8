"""Alert rules as data; `docs/runbook.md` has a section for each. An alarm tells people: it never opens or closes a gate."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from b3iq_schemas.codes import Refusal
from b3iq_streams.observability.metrics import BROKEN_CHECKS, DIFFERENCES, LOG_LOST, OTHER, REBUILDS
from b3iq_streams.observability.queries import (
    CATALOG_ELIGIBLE,
    CATALOG_LAG,
    ELIGIBLE,
    ELIGIBLE_BEFORE,
    ELIGIBLE_BY_PARTITION,
    FEWER,
    LAG,
    LOST,
    LOST_SHARE,
    REFUSED_RATE,
    REVISIONS,
    by,
    series,
)

RUNBOOK = "docs/runbook.md"
RESOLVED_LAG_MAX_S = 3
LOST_SHARE_MAX = 0.2
LOST_MIN = 2
"""One host that goes is no mass change, however small the network; unless it was all there was."""
REFUSED_PER_S_MAX = 1
NOTICE_S = 900
CONTESTED_MAX = 5


def _recent(name: str, matchers: str) -> str:
    """Something happened within the last quarter of an hour, by the Unix time that a gauge gives."""
    return f"time() - {series(name, matchers)} < {NOTICE_S}"


def _one_of(codes: Iterable[str]) -> str:
    return f'"{"|".join(codes)}"'


def _grown(name: str, codes: Iterable[str]) -> str:
    """A counter grew for one of the codes within the last quarter of an hour."""
    grown = f"increase({series(name, f'code=~{_one_of(codes)}')}[{NOTICE_S}s])"
    return f"{by('code', 'sum', grown)} > 0"


class Alert(NamedTuple):
    """A rule: fires once `expr` gives anything for as long as `held`; `summary` may use Prometheus' templates, `when` is for
    people who read about it."""

    name: str
    severity: str
    expr: str
    held: str
    summary: str
    when: str

    @property
    def anchor(self) -> str:
        """Where the runbook explains it."""
        return f"{RUNBOOK}#{self.name.lower()}"


ALERTS = (
    Alert("B3iqResolvedLag", "page", f"{LAG} > {RESOLVED_LAG_MAX_S} or {CATALOG_LAG} > {RESOLVED_LAG_MAX_S}", "30s",
          "Partition {{ $labels.partition }} is {{ $value | humanizeDuration }} behind: routers grant nothing of it",
          f"a partition's decisions are more than {RESOLVED_LAG_MAX_S} s old"),
    Alert("B3iqCatalogWithholds", "page",
          f"{by('instance', 'min', series('b3iq_catalog_ready'))} == 0 unless on (instance) "
          f"{by('instance', 'max', series('b3iq_catalog_resolved_lag_seconds'))} > {RESOLVED_LAG_MAX_S}", "1m",
          "{{ $labels.instance }} makes no claims, though no partition that it follows lags",
          "a catalog makes no claims for another reason than lag"),
    Alert("B3iqTargetDown", "page", 'up{job=~"processor|catalog"} == 0', "1m",
          "{{ $labels.job }} {{ $labels.instance }} does not answer",
          "a worker or the catalog cannot be scraped"),
    Alert("B3iqDecisionsDiffer", "page",
          _recent("b3iq_notice_timestamp_seconds", f'level="alarm",code=~{_one_of((*DIFFERENCES, OTHER))}'), "0s",
          "{{ $labels.instance }}: what is recorded is not what the fold gives ({{ $labels.code }})",
          "what is recorded is not what the fold gives"),
    Alert("B3iqCheckBroken", "ticket",
          f"{_grown('b3iq_changes', BROKEN_CHECKS)} or {_grown('b3iq_events_refused', [Refusal.ADMISSION_ERROR])} or "
          f"{by('code', 'max', series('b3iq_catalog_blocked', f'code=~{_one_of(BROKEN_CHECKS)}'))} > 0", "0s",
          "A check broke and said no ({{ $labels.code }})",
          "a check raised an error, and so blocked a profile or refused a record"),
    Alert("B3iqChainContested", "page",
          f"increase({series('b3iq_contested_epochs')}[5m]) > {CONTESTED_MAX} or "
          f"{by('partition', 'count', series('b3iq_resolved_lag_seconds'))} > 1", "1m",
          "Two workers write the same chain",
          "two owners write the same chain"),
    Alert("B3iqRebuild", "ticket", _recent("b3iq_notice_timestamp_seconds", f"code=~{_one_of(REBUILDS)}"), "0s",
          "{{ $labels.instance }} did not believe its checkpoint and rebuilt a state ({{ $labels.code }})",
          "a worker rebuilt a state from the log"),
    Alert("B3iqLogLost", "page", _recent("b3iq_exit_timestamp_seconds", f"code=~{_one_of(LOG_LOST)}"), "0s",
          "{{ $labels.instance }} ended: inputs lack records that it must have, and a restart brings none back "
          "({{ $labels.code }})",
          "a worker ended because its inputs lost records"),
    Alert("B3iqMassChange", "page",
          f"({LOST} >= {LOST_MIN}) / ({ELIGIBLE_BEFORE}) > {LOST_SHARE_MAX} or "
          f"({FEWER} >= {LOST_MIN}) / ({ELIGIBLE_BEFORE}) > {LOST_SHARE_MAX} or {LOST_SHARE} >= 1", "0s",
          "{{ $value | humanizePercentage }} of the eligible profiles were lost within a minute",
          f"more than {LOST_SHARE_MAX:.0%} of the eligible profiles, and at least {LOST_MIN} or all, were lost within a minute"),
    Alert("B3iqCatalogClaimsMore", "page",
          f"{CATALOG_ELIGIBLE} > {ELIGIBLE} unless on () ({CATALOG_LAG} unless {ELIGIBLE_BY_PARTITION})", "2m",
          "The catalog claims {{ $value }} profiles eligible, the processors fewer",
          "the catalog claims more eligible profiles than the processors count, every partition of its being scraped"),
    Alert("B3iqDeadLetters", "ticket",
          f"{REFUSED_RATE} > {REFUSED_PER_S_MAX}", "5m",
          "{{ $value | humanize }} records a second are refused as {{ $labels.code }}",
          f"more than {REFUSED_PER_S_MAX} record a second is refused with one code"),
    Alert("B3iqPolicyPartial", "page", f"{REVISIONS} < scalar(max({series('b3iq_policy_revision')}))", "2m",
          "Partition {{ $labels.partition }} still folds under policy revision {{ $value }}",
          "a partition folds under an older policy revision than another"),
    Alert("B3iqWorkerExit", "ticket", _recent("b3iq_exit_timestamp_seconds", f"code!~{_one_of(LOG_LOST)}"), "0s",
          "{{ $labels.instance }} ended itself and came back ({{ $labels.code }})",
          "a worker ended itself for any other reason and came back"),
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
        "annotations": {"summary": alert.summary, "runbook_url": alert.anchor},
    }
