"""`docs/observability.md`, from the tables of metrics and alerts: `python -m b3iq_streams.observability.page`."""

import sys
from collections.abc import Iterable

from b3iq_streams.observability.alerts import ALERTS
from b3iq_streams.observability.metrics import CATALOG, PROCESSOR, Metric

_HEAD = """# Observability

Drawn from `b3iq_streams/observability/metrics.py`, as are the collectors, the dashboard and the alert rules.
`b3iq-streams observability --out deploy/observability` writes the files for Prometheus and Grafana again (JSON, which
is YAML, too); what to do about an alert is in [runbook.md](runbook.md), to which its annotation `runbook_url` leads.

- **Metrics:** `/metrics` of a worker (with `--web-port`) and of the catalog. Label values are bounded: a code that is not
  in the table, from a newer version or a hostile record, counts as `other`. Facts, refusals and changes are counted by the
  worker whose epoch it was.
- **Names that rules rely on:** scrape jobs are called `processor` and `catalog` (in Kubernetes, too: the pods only say where they
  serve), else B3iqTargetDown is silent; where alerts go is your Alertmanager's, which `prometheus.yaml` does not name; and
  `runbook_url` is the path within this repository.
- **Exits:** a process that ends itself writes its code to `exits.json` in `--datadir`; the next one serves it. A process
  killed from outside leaves no note: that is what `up == 0` is for.
- **Logs:** one line an event on stderr, `--log-format json` or `console` (by default what fits stderr), with `partition`,
  `epoch` and `digest`. Only the fields of `observability/logs.py` are written; what looks like a key, a signature or a
  payload is removed, and an error is told by its type and frames, without its message.
- **Traces:** with the extra `otel` and `OTEL_EXPORTER_OTLP_ENDPOINT` set, a worker sends a span for each epoch that it
  proposes, with the counts, and an event for each range of inputs it folds. The other `OTEL_*` variables of the OTLP
  exporter apply.
"""


def page() -> str:
    """The whole page."""
    return (
        "\n".join(
            (_HEAD, "## Processor\n", _table(PROCESSOR), "## Catalog\n", _table(CATALOG), "## Alerts\n", _alerts())
        ).rstrip()
        + "\n"
    )


def _table(metrics: tuple[Metric, ...]) -> str:
    rows = [("metric", "kind", "labels", "what", "question"), ("---",) * 5]
    for metric in metrics:
        name = metric.series[0] if len(metric.series) == 1 else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        rows.append((f"`{name}`", metric.kind.value, labels, metric.help, metric.question))
    return _lines(rows)


def _alerts() -> str:
    rows = [("alert", "severity", "held for", "fires when"), ("---",) * 4]
    rows += [(f"[{alert.name}](runbook.md#{alert.name.lower()})", alert.severity, alert.held, alert.when) for alert in ALERTS]
    return _lines(rows)


def _lines(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.stdout.write(page())
