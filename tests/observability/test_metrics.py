"""The table of metrics against what processor and catalog really serve."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from b3iq_schemas.topics import INPUTS
from b3iq_streams.core.actions import Appended, Confirmed, Intake, Notice
from b3iq_streams.core.chain import Anchor, Head
from b3iq_streams.observability import metrics as table
from b3iq_streams.observability.metrics import CATALOG, METRICS, PROCESSOR, Kind, Metric, bounded
from b3iq_streams.processor.exits import FILE, Exits, note_exit, read_exits
from b3iq_streams.processor.metrics import Metrics
from tests.catalog.lab import CatalogLab
from tests.observability.promtool import run

ROOT = Path(__file__).parents[2]
UNITS = ("_seconds", "_records", "_keys", "_revision")


def head(epoch: int = 1, revision: int = 1) -> Head:
    """A head of an epoch under a revision."""
    return Head(epoch, epoch, f"{epoch:064x}", 1_000, revision, {}, Anchor(-1, 0, ""))


def confirmed(code: str = "record_empty", *, own: bool = True) -> Confirmed:
    """An epoch that refused a record by a code."""
    return Confirmed(head(), own, {"heartbeats": 2}, {code: 1}, 1, 1, {"eligible": 1, code: 1}, 5, 2)


def worked(partition: int = 0) -> Metrics:
    """A worker that has seen each kind of event."""
    metrics = Metrics({"stalled": Exits(2, 5_000)})
    metrics.on_assigned(partition)
    metrics.on_intake(partition, Intake(0, dict.fromkeys(INPUTS, 0), dict.fromkeys(INPUTS, 3), {}, dict.fromkeys(INPUTS, 1)))
    metrics.on_appended(partition, Appended(0, 0, 0))
    metrics.on_confirmed(partition, confirmed())
    metrics.on_live(partition)
    metrics.on_checkpoint(partition, 4)
    metrics.on_notice(partition, Notice("alarm", "fold_differs", "epoch 1"))
    metrics.timed(lambda records, owner: [])([], None)
    return metrics


def catalogued() -> bytes:
    """What a catalog serves after one request."""
    lab = CatalogLab()
    from b3iq_streams.catalog.metrics import Metrics as CatalogMetrics

    metrics = CatalogMetrics(lab.live)
    metrics.answered("/healthz", 200, 3)
    return metrics.render()


EXPOSITIONS = [(PROCESSOR, worked().render()), (CATALOG, catalogued())]


def values(exposition: bytes) -> dict[str, float]:
    """Every sample, as it stands in the text."""
    lines = (line.rpartition(" ") for line in exposition.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@pytest.mark.parametrize(("metrics", "exposition"), EXPOSITIONS, ids=["processor", "catalog"])
def test_what_is_served_is_the_table(metrics: tuple[Metric, ...], exposition: bytes) -> None:
    """Name, kind, help, labels, and every label value within its bounds: no more and no less than the table says."""
    families = {family.name: family for family in text_string_to_metric_families(exposition.decode())}
    assert {metric.name for metric in metrics} == set(families)
    for metric in metrics:
        family = families[metric.name]
        assert (metric.kind, metric.help) == (family.type, family.documentation)
        for sample in family.samples:
            assert set(metric.labels) == sample.labels.keys() - {"le"}, metric.name
            for label, bound in metric.labels.items():
                assert sample.labels[label] in {bounded(bound, sample.labels[label]), table.OTHER}


@pytest.mark.parametrize(("metrics", "exposition"), EXPOSITIONS, ids=["processor", "catalog"])
def test_promtool_has_nothing_to_say(metrics: tuple[Metric, ...], exposition: bytes) -> None:
    """Names, units and help are as Prometheus wants them."""
    assert (0, "") == run("check", "metrics", given=exposition)


def test_units_are_in_the_names() -> None:
    """Histograms measure seconds; whatever has a unit ends with it."""
    assert [] == [
        metric.name for metric in METRICS.values() if metric.kind is Kind.HISTOGRAM and not metric.name.endswith("_seconds")
    ]
    assert [] == [metric.name for metric in METRICS.values() if re.search(r"(_ms|_s|_bytes_total|_seconds_.+)$", metric.name)]


def test_no_stranger_makes_a_label() -> None:
    """A thousand unknown codes, levels and topics become one series each."""
    metrics = worked()
    before = set(values(metrics.render()))
    for number in range(1_000):
        metrics.on_confirmed(0, confirmed(f"code_{number}"))
        metrics.on_notice(0, Notice("alarm", f"hostile_{number}", ""))
    seen = values(metrics.render())
    assert {'b3iq_notice_timestamp_seconds{code="other",level="alarm"}'} == set(seen) - before
    assert 1_000 == seen['b3iq_events_refused_total{code="other"}'] == seen['b3iq_notices_total{code="other",level="alarm"}']
    assert 1_000 < seen['b3iq_changes_total{code="other"}']


def test_a_first_event_is_an_increase() -> None:
    """Counters with closed label sets begin at 0 before anything happens."""
    assert 0 == values(Metrics().render())['b3iq_events_refused_total{code="record_empty"}']


def test_epochs_of_others_count_nothing_but_themselves() -> None:
    """Facts are counted once among all workers; another's epoch while live is contested, during recovery it is not."""
    metrics = Metrics()
    metrics.on_assigned(0)
    metrics.on_confirmed(0, confirmed(own=False))
    assert 0 == values(metrics.render())["b3iq_contested_epochs_total"]
    metrics.on_live(0)
    metrics.on_confirmed(0, confirmed(own=False))
    seen = values(metrics.render())
    assert (1, 2) == (seen["b3iq_contested_epochs_total"], seen['b3iq_epochs_total{proposed_by="other"}'])
    assert (0, 0) == (seen['b3iq_events_refused_total{code="record_empty"}'], seen['b3iq_changes_total{code="eligible"}'])
    assert (0, 2) == (seen["b3iq_profiles_lost_total"], values(worked().render())["b3iq_profiles_lost_total"])


def test_a_partition_given_up_is_silent() -> None:
    """What another worker says of it now must not be contradicted."""
    metrics = worked(7)
    assert 5 == values(metrics.render())['b3iq_profiles_eligible{partition="7"}']
    metrics.on_released(7)
    left = {name for name in values(metrics.render()) if 'partition="7"' in name}
    assert {'b3iq_recovery_seconds{partition="7"}'} == left


def test_every_code_of_an_owner_is_in_the_table() -> None:
    """Notices and exits that the core can make have a label value of their own."""
    core, processor = ROOT / "streams/b3iq_streams/core", ROOT / "streams/b3iq_streams/processor"
    text = "\n".join(path.read_text() for folder in (core, processor) for path in folder.glob("*.py"))
    voids = set(re.findall(r'Void\("(\w+)"', text))
    exits = set(re.findall(r'(?:_Exit|die)\("(\w+)"', text))
    assert voids == set(table.REBUILDS)
    assert exits <= {*table.OWNER_EXITS, *table.WORKER_EXITS, *table.REBUILDS}
    assert set(re.findall(r'Notice\("alarm", "(\w+)"', text)) == set(table.DIFFERENCES)


def test_an_exit_leaves_a_note_that_its_successor_serves(tmp_path: Path) -> None:
    """By code, added up over restarts; codes out of bounds are one."""
    for code in ("stalled", "stalled", "deposed", "never heard of"):
        note_exit(tmp_path, code)
    noted = read_exits(tmp_path)
    assert {"stalled": 2, "deposed": 1, "other": 1} == {code: count for code, (count, _) in noted.items()}
    seen = values(Metrics(noted).render())
    assert 2 == seen['b3iq_exits_total{code="stalled"}']
    assert noted["deposed"].last_at_ms / 1_000 == seen['b3iq_exit_timestamp_seconds{code="deposed"}']


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"stalled": 1}', b'{"stalled": ["x", "y"]}', b"\xff" * 100])
def test_a_damaged_note_is_no_note(content: bytes, tmp_path: Path) -> None:
    """It keeps nobody from starting, nor from ending, and the next note is whole."""
    (tmp_path / FILE).write_bytes(content)
    assert {} == read_exits(tmp_path)
    note_exit(tmp_path, "deposed")
    assert {"deposed"} == set(read_exits(tmp_path))


def test_a_note_that_cannot_be_written_keeps_nobody_alive(tmp_path: Path) -> None:
    """The process ends all the same."""
    note_exit(tmp_path / "missing", "deposed")
    assert {} == read_exits(tmp_path / "missing")
