"""PromQL that alerts and dashboard share; metrics are named through the table, so that a wrong name is an error at import."""

from b3iq_streams.observability.metrics import METRICS


def series(name: str, matchers: str = "") -> str:
    """A counter's or a gauge's series, `matchers` as in PromQL (`code="x"`); KeyError for a metric that is not in the table."""
    (only,) = METRICS[name].series
    return f"{only}{{{matchers}}}" if matchers else only


def by(label: str, how: str, what: str) -> str:
    """What several processes say of the same, as one: the `min` or `max` or `sum` by a label."""
    return f"{how} by ({label}) ({what})"


LAG = by("partition", "min", series("b3iq_resolved_lag_seconds"))
CATALOG_LAG = by("partition", "max", series("b3iq_catalog_resolved_lag_seconds"))
REVISIONS = by("partition", "max", series("b3iq_policy_revision"))
ELIGIBLE_BY_PARTITION = by("partition", "min", series("b3iq_profiles_eligible"))
ELIGIBLE = f"sum({ELIGIBLE_BY_PARTITION})"
"""As the processors count; a partition that nobody is scraped for is missing from it."""
REFUSED_RATE = by("code", "sum", f"rate({series('b3iq_events_refused')}[5m])")
CATALOG_ELIGIBLE = f"max({series('b3iq_catalog_eligible')})"

_MOST = by("partition", "max", f"max_over_time({series('b3iq_profiles_eligible')}[1m])")
ELIGIBLE_BEFORE = f"sum({by('partition', 'max', series('b3iq_profiles_eligible') + ' offset 1m')} or {_MOST}) > 0"
"""A minute ago; of a partition that nobody was scraped for then, the most since. Nothing if none were."""
LOST = f"sum(increase({series('b3iq_profiles_lost')}[1m]))"
"""Within a minute, whatever opened meanwhile."""
FEWER = f"sum({_MOST} - {ELIGIBLE_BY_PARTITION})"
"""Within a minute, by the numbers left: of partitions that are still served, one that moves between workers loses nothing."""
LOST_SHARE = f"{LOST} / ({ELIGIBLE_BEFORE})"
