"""`audit decisions`: a finding on every past routing decision, written as it is found, and counts at the end."""

from collections.abc import Iterator

import click
import orjson

from b3iq_schemas.policy import RootTrust
from b3iq_streams.audit import options
from b3iq_streams.audit.options import json_option, operator_option, processes_option, range_options, source_options
from b3iq_streams.audit.routing.codes import Limits, Verdict
from b3iq_streams.audit.routing.decisions import Finding, Summary, audit
from b3iq_streams.audit.routing.text import as_data, as_text, summary_data, summary_text
from b3iq_streams.audit.source import Origin

QUIET = frozenset({Verdict.JUSTIFIED, Verdict.STALE, Verdict.UNVERIFIABLE, None})


@click.command("decisions")
@range_options
@click.option("--bound", "bound_ms", type=click.IntRange(1, 3_600_000), default=3_000, show_default=True, metavar="MS",
              help="B, as the routers run with it: the oldest view to act on.")  # fmt: skip
@click.option("--log-delay-max", "log_delay_ms_max", type=click.IntRange(0, 3_600_000), default=30_000, show_default=True,
              metavar="MS", help="How long a decision may take to be logged.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Tell every decision, not only violations.")
@processes_option
@json_option
@operator_option
@source_options
@click.pass_context
def decisions(
    ctx: click.Context, *, origin: Origin, trust: RootTrust, from_ms: int, to_ms: int, bound_ms: int, log_delay_ms_max: int,
    everything: bool, processes: int | None, as_json: bool, operator: bool,
) -> None:  # fmt: skip
    """Judge every routing decision that was logged from --from to --to by what was known and what was true at its moment.

    Each is justified, stale but in bound, a violation, or unverifiable. Exit code 0: no violation. 1: some. 3: none, but some
    cannot be verified any more.
    """
    limits = Limits(trust.skew_ms, bound_ms, log_delay_ms_max, from_ms, to_ms)
    summary = Summary()
    findings = _counted(audit(origin, trust, limits, processes), summary)
    told = (found for found in findings if everything or found.verdict not in QUIET)
    for line in as_lines(told, summary, as_json, operator):
        click.echo(line)
    ctx.exit(exit_code(summary))


def exit_code(summary: Summary) -> int:
    """The exit code of the command."""
    if summary.count(Verdict.VIOLATION):
        return options.DIFFERENT
    return options.EXPIRED if summary.expired else options.EQUAL


def as_lines(told: Iterator[Finding], summary: Summary, as_json: bool, operator: bool) -> Iterator[str]:
    """The whole output, line by line: findings as they come, then the counts. As JSON all lines are one document."""
    if not as_json:
        for found in told:
            yield as_text(found, operator)
        yield summary_text(summary)
        return
    yield '{"findings":['
    comma = ""
    for found in told:
        yield comma + orjson.dumps(as_data(found, operator)).decode()
        comma = ","
    yield "]," + orjson.dumps(summary_data(summary)).decode()[1:]


def _counted(findings: Iterator[Finding], summary: Summary) -> Iterator[Finding]:
    for found in findings:
        summary.add(found)
        yield found
