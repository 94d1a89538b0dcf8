"""`observability`: the files for Prometheus and Grafana, drawn from the table of metrics; `deploy/observability/` holds them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from b3iq_streams.cli_options import make_directory, write
from b3iq_streams.errors import UserError
from b3iq_streams.observability.alerts import rule_file
from b3iq_streams.observability.dashboard import SOURCE, dashboard

SCRAPE_S = 5
DASHBOARDS = "/var/lib/grafana/dashboards"
"""Where Grafana's container must find dashboard.json."""


def prometheus() -> dict[str, Any]:
    """Prometheus' configuration for the services of docker-compose.yml."""
    jobs = {"processor": ["processor-1:6066", "processor-2:6066"], "catalog": ["catalog:8080"]}
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()],
    }


def grafana_datasource() -> dict[str, Any]:
    """Grafana's data source: the Prometheus of docker-compose.yml."""
    source = {"name": "Prometheus", "access": "proxy", "url": "http://prometheus:9090", "isDefault": True, **SOURCE}
    return {"apiVersion": 1, "datasources": [source]}


def grafana_dashboards() -> dict[str, Any]:
    """Where Grafana finds dashboards."""
    return {"apiVersion": 1, "providers": [{"name": "b3iq", "type": "file", "options": {"path": DASHBOARDS}}]}


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "dashboard.json": dashboard,
    "alerts.yaml": rule_file,
    "prometheus.yaml": prometheus,
    "grafana-datasource.yaml": grafana_datasource,
    "grafana-dashboards.yaml": grafana_dashboards,
}
"""Every generated file by its name."""


def render(name: str) -> str:
    """The text of a file; JSON, of which YAML is a superset, so that no dependency is needed to write it."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


@click.command()
@click.argument("what", type=click.Choice(sorted(name.partition(".")[0] for name in FILES)), required=False)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write all files there instead.")
def command(what: str | None, out: Path | None) -> None:
    """Print the files for Prometheus and Grafana: dashboard, alert rules, configuration."""
    if (what is None) == (out is None):
        raise UserError("name one file to print, or --out DIR to write them all")
    if out is not None:
        make_directory(out, "--out")
    for name in FILES:
        if out is not None:
            write(out / name, render(name).encode())
        elif name.partition(".")[0] == what:
            click.echo(render(name), nl=False)
