"""Alert rules, judged by promtool: each fires on its series, and not on series close to them; each is in the runbook."""

import re
from pathlib import Path
from typing import Any

import pytest

from b3iq_streams import cli
from b3iq_streams.observability.alerts import ALERTS, RUNBOOK, rule_file
from b3iq_streams.observability.command import FILES, render
from b3iq_streams.observability.dashboard import PANELS
from b3iq_streams.observability.metrics import METRICS, QUESTIONS, SERIES
from b3iq_streams.observability.page import page
from tests.observability.alert_cases import CASES, Case, Series
from tests.observability.promtool import run, written

ROOT = Path(__file__).parents[2]
BY_NAME = {alert.name: alert for alert in ALERTS}


def _test(case: Case, series: Series, *, fires: bool) -> dict[str, Any]:
    alert = BY_NAME[case.alert]
    labels = {**case.labels, "severity": alert.severity}
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{case.at_s}s",
                "alertname": case.alert,
                "exp_alerts": [{"exp_labels": labels}] if fires else [],
            }
        ],
    }


def _judged(directory: Path, tests: list[dict[str, Any]]) -> tuple[int, str]:
    """By promtool, without the annotations: summaries carry values that are no part of what a case holds."""
    bare = rule_file()
    for rule in bare["groups"][0]["rules"]:
        del rule["annotations"]
    rules = written(directory / "rules.yaml", bare)
    return run("test", "rules", written(directory / "tests.yaml", {"rule_files": [rules], "tests": tests}))


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case.alert}" for number, case in enumerate(CASES)])
def test_an_alert_fires_on_its_series_and_not_otherwise(case: Case, tmp_path: Path) -> None:
    """Exactly the expected alert on the series that must fire, none on those that must not."""
    tests = [_test(case, case.fires, fires=True), *(_test(case, series, fires=False) for series in case.silent)]
    code, said = _judged(tmp_path, tests)
    assert 0 == code, said


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    """No rule is without its test."""
    assert set(BY_NAME) == {case.alert for case in CASES} == {case.alert for case in CASES if case.silent}


def test_the_committed_files_are_the_generated_ones() -> None:
    """`b3iq-streams observability --out deploy/observability` writes them again."""
    directory = ROOT / "deploy/observability"
    assert {name: render(name) for name in FILES} == {path.name: path.read_text() for path in directory.iterdir()}
    assert len(render("dashboard.json")) < 100_000


def test_files_are_written_where_nothing_was(tmp_path: Path) -> None:
    """Directories are made; what is in the way is one line and exit code 2."""
    assert 0 == cli.run(["observability", "--out", str(tmp_path / "new/deep")])
    assert {*FILES} == {path.name for path in (tmp_path / "new/deep").iterdir()}
    assert 2 == cli.run(["observability", "--out", str(tmp_path / "new/deep/alerts.yaml")])


def test_the_page_is_the_generated_one() -> None:
    """`python -m b3iq_streams.observability.page > docs/observability.md` writes it again."""
    assert page() == (ROOT / "docs/observability.md").read_text()


def test_promtool_accepts_configuration_and_rules(tmp_path: Path) -> None:
    """Prometheus would start with them."""
    for name in FILES:
        (tmp_path / name).write_text(render(name))
    code, said = run("check", "config", "--lint-fatal", str(tmp_path / "prometheus.yaml"))
    assert (0, True) == (code, f"{len(ALERTS)} rules found" in said), said


def test_every_query_of_the_dashboard_parses_and_names_metrics_of_the_table(tmp_path: Path) -> None:
    """As recording rules they are accepted, and there is no series in them, or in an alert, that nobody serves."""
    queries = [expr for panel in PANELS for expr, _ in panel.queries]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(queries)]
    code, said = run("check", "rules", written(tmp_path / "r.yaml", {"groups": [{"name": "panels", "rules": rules}]}))
    assert 0 == code, said
    named = {name for expr in (*queries, *(alert.expr for alert in ALERTS)) for name in re.findall(r"\bb3iq_\w+", expr)}
    assert set() == named - SERIES


def test_the_dashboard_shows_every_metric_and_answers_every_question() -> None:
    """Nothing is measured that nobody sees; a panel shows what it says it shows."""
    assert set(METRICS) == {name for panel in PANELS for name in panel.metrics}
    assert set(QUESTIONS) == {panel.question for panel in PANELS}
    for panel in PANELS:
        shown = {name for expr, _ in panel.queries for name in re.findall(r"\bb3iq_\w+", expr)}
        for name in panel.metrics:
            assert shown & set(METRICS[name].series), (panel.title, name)


def test_the_runbook_has_a_section_for_each_alert() -> None:
    """And none for an alert that is gone; each says what it means, what to look at, what to do."""
    text = (ROOT / RUNBOOK).read_text()
    sections = dict(re.findall(r"^## (B3iq\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(BY_NAME) == set(sections)
    for name, section in sections.items():
        for part in ("**Means:**", "**Look at:**", "**Do:**"):
            assert part in section, (name, part)
    assert {alert.anchor for alert in ALERTS} == {f"{RUNBOOK}#{name.lower()}" for name in sections}
