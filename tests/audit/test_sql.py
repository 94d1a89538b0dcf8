"""The SQL examples give the figures that plain Python takes from the log's records alone."""

import csv
import functools
import io
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from b3iq_schemas import topics
from b3iq_schemas.codes import LEAVES
from b3iq_schemas.envelope import parse
from b3iq_streams.audit.archive import query
from b3iq_streams.audit.source import AUDITED
from b3iq_streams.audit.times import show
from b3iq_streams.cli import run
from b3iq_streams.core.records import Record
from b3iq_streams.errors import UserError
from b3iq_streams.kafka.connection import Place
from tests.audit.archive_lab import CHANGES, accepted, archived, hostile
from tests.audit.lab import Lab, MemoryOrigin, busy_lab
from tests.factory import T0, profile

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@functools.cache
def log() -> MemoryOrigin:
    """The busy lab."""
    return busy_lab().origin


@functools.cache
def night() -> MemoryOrigin:
    """Three nodes around midnight: stakes change, prices differ, one node is registered long after its first heartbeat."""
    lab = Lab(2, heartbeat_ttl_ms=10_000, route_health_ttl_ms=DAY_MS, hold_down={"flips_max": 9, "window_ms": 0, "hold_ms": 0})
    for part in lab.parts:
        part.now_ms = T0 - T0 % DAY_MS + DAY_MS - 40_000
    dear = [profile(price_wei_per_mtok="300000000000000"), profile("p1", route_tier="portable_local", model_id="small")]
    lab.policy(2)
    lab.ready("node-1", "node-2", profiles=dear)
    lab.beat("node-3")
    for turn in range(40):
        if turn != 11:
            lab.beat("node-1", profiles=dear)
        lab.beat("node-2", profiles=[profile(price_wei_per_mtok="5" if turn > 20 else "7")])
        if turn == 9:
            lab.ready("node-3")
        if turn in (5, 15, 25):
            lab.put(topics.REGISTRATIONS, "node-1", stake_wei=str(5_000 + turn))
            lab.put(topics.REGISTRATIONS, "node-2", signers=("somebody",), stake_wei="1")
        lab.epochs(2)
        lab.allow("node-2" if turn % 3 else "node-1")
        lab.refuse("processor_lag" if turn % 5 == 1 else "insufficient_balance")
    return lab.origin


LOGS = {"busy": log, "night": night}


@functools.cache
def directory(name: str) -> Path:
    """A log, archived."""
    return archived(LOGS[name](), Path(tempfile.mkdtemp())).directory


def rows(name: str, example: str) -> list[dict[str, Any]]:
    """What an example answers on a log."""
    table = query.run(example, directory(name))
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


class Interval(NamedTuple):
    """A decision on a key, and until when it held."""

    key: str
    decision: dict[str, Any]
    from_ms: int
    until_ms: int


@functools.cache
def intervals(name: str) -> list[Interval]:
    """Every decision of an accepted epoch, from the chain's records alone."""
    found = []
    for partition in range(2):
        chain = LOGS[name]().records[Place(CHANGES, partition)]
        epochs = accepted(chain, LOGS[name](), partition)
        resolved = {epochs[record.offset]: mark["resolved_at_ms"] for record, mark in _marks(chain) if epochs[record.offset]}
        last: dict[str, Interval] = {}
        for record in chain:
            if record.key == b"~mark" or epochs[record.offset] is None:
                continue
            decision = orjson.loads(record.value or b"")["decision"]
            key, at_ms = f"{decision['node_id']}/{decision['profile_id']}", resolved[epochs[record.offset]]
            if key in last:
                found.append(last[key]._replace(until_ms=at_ms))
            last[key] = Interval(key, decision, at_ms, max(resolved.values()))
        found += last.values()
    return found


def _marks(chain: Any) -> Iterator[tuple[Record, dict[str, Any]]]:
    for record in chain:
        if record.key == b"~mark":
            yield record, orjson.loads(parse(record.value or b"").payload)


def payloads(name: str, topic: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Records of a topic that nothing refused, with what they say."""
    letters = [orjson.loads(record.value or b"") for record in everything(name, topics.DEAD_LETTERS)]
    refused = {(letter["topic"], letter["partition"], letter["offset"]) for letter in letters}
    for record in everything(name, topic):
        if record[:3] not in refused:
            yield record, orjson.loads(parse(record.value or b"").payload)


def everything(name: str, topic: str) -> list[Record]:
    """All records of a topic."""
    return [record for place, found in sorted(LOGS[name]().records.items()) if place.topic == topic for record in found]


def utc(at_ms: int) -> datetime:
    """A moment as the queries give it."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).replace(tzinfo=None)


def losses(name: str) -> dict[str, list[Interval]]:
    """By key, each decision that took eligibility away."""
    by_key: dict[str, list[Interval]] = defaultdict(list)
    was: dict[str, bool] = {}
    for interval in sorted(intervals(name), key=lambda found: found.from_ms):
        if was.get(interval.key) and not interval.decision["eligible"]:
            by_key[interval.key].append(interval)
        was[interval.key] = interval.decision["eligible"]
    return by_key


@pytest.mark.parametrize("name", LOGS)
def test_blocked_minutes(name: str) -> None:
    """Per day and code: every millisecond of every blocked interval, split at midnight."""
    minutes: dict[tuple[date, str], list[Any]] = defaultdict(lambda: [0, 0, set()])
    for key, decision, from_ms, until_ms in intervals(name):
        for day in range(from_ms // DAY_MS, until_ms // DAY_MS + 1):
            spent = min(until_ms, (day + 1) * DAY_MS) - max(from_ms, day * DAY_MS)
            for at, failing in enumerate(decision["failing"] if spent > 0 else ()):
                entry = minutes[utc(day * DAY_MS).date(), failing["code"]]
                entry[0] += spent
                entry[1] += spent if at == 0 else 0
                entry[2].add(key)
    found = {(row["day"], row["code"]): (row["minutes"], row["minutes_as_first"], row["profiles"]) for row in rows(name, BLOCKED)}
    expected = {
        place: (round(ms / 60_000, 3), round(first / 60_000, 3), len(keys)) for place, (ms, first, keys) in minutes.items()
    }
    assert expected == found
    assert len(expected) >= 4
    assert {day for day, _ in expected} == ({date(2027, 1, 15), date(2027, 1, 16)} if name == "night" else {date(2027, 1, 15)})


BLOCKED = "blocked_minutes_by_code_per_day"


@pytest.mark.parametrize("name", LOGS)
def test_flapping_nodes(name: str) -> None:
    """Every loss of eligibility of a profile that had more than one, the most within an hour, and the usual cause."""
    expected = {}
    for key, lost in losses(name).items():
        if len(lost) > 1:
            causes = [interval.decision["failing"][0]["code"] for interval in lost]
            within = [sum(0 <= other.from_ms - one.from_ms <= HOUR_MS for other in lost) for one in lost]
            usual = min(set(causes), key=lambda code: (-causes.count(code), code))
            expected[key] = (len(lost), max(within), usual, utc(lost[0].from_ms), utc(lost[-1].from_ms))
    found = rows(name, "flapping_nodes")
    assert expected == {f"{row['node_id']}/{row['profile_id']}": tuple(row.values())[2:] for row in found}
    assert (name == "busy") == (len(expected) >= 2)
    assert sorted(found, key=lambda row: (-row["losses"], row["node_id"], row["profile_id"])) == found


@pytest.mark.parametrize("name", LOGS)
def test_time_to_eligible(name: str) -> None:
    """From the first registration that was admitted to the first "yes", and what blocked before."""
    registered: dict[str, int] = {}
    for record, event in payloads(name, topics.REGISTRATIONS):
        registered[event["node_id"]] = min(record.timestamp_ms, registered.get(event["node_id"], record.timestamp_ms))
    expected = {}
    for key in {interval.key for interval in intervals(name)}:
        mine = sorted((interval for interval in intervals(name) if interval.key == key), key=lambda interval: interval.from_ms)
        yes = next((interval.from_ms for interval in mine if interval.decision["eligible"]), None)
        before = [interval for interval in mine if yes is None or interval.from_ms < yes]
        codes = sorted({failing["code"] for interval in before for failing in interval.decision["failing"]})
        start = registered.get(key.partition("/")[0])
        spent = None if yes is None or start is None else (yes - start) / 1_000
        expected[key] = (spent, codes)
    found = rows(name, "time_to_eligible")
    assert expected == {f"{row['node_id']}/{row['profile_id']}": (row["seconds"], row["waited_for"]) for row in found}
    assert name == "busy" or {(None, False), (1.0, True)} <= {(spent, not codes) for spent, codes in expected.values()}


@pytest.mark.parametrize("name", LOGS)
def test_refused_paid_requests(name: str) -> None:
    """Each code's count and its shares of the refused and of all requests."""
    asked = [event for _, event in payloads(name, topics.ROUTING_DECISIONS)]
    codes = [event["code"] for event in asked if not event["allowed"]]
    expected = [
        (code, count, round(100 * count / len(codes), 2), round(100 * count / len(asked), 2))
        for code, count in sorted(((code, codes.count(code)) for code in set(codes)), key=lambda found: (-found[1], found[0]))
    ]
    assert expected == [tuple(row.values()) for row in rows(name, "refused_paid_requests_by_code")]
    assert name == "busy" or 2 == len(expected)


def test_stake_changes_against_revenue() -> None:
    """Paid requests and their prices before and after each admitted change of a stake; a refused one is none."""
    stakes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for record, event in payloads("night", topics.REGISTRATIONS):
        held = stakes[event["node_id"]]
        if not held or held[-1][1] != event["stake_wei"]:
            held.append((record.timestamp_ms, event["stake_wei"]))
    end_ms = max(interval.until_ms for interval in intervals("night"))
    expected = []
    for node_id, held in stakes.items():
        moments = [*[at_ms for at_ms, _ in held], end_ms]
        for at in range(1, len(held)):
            parts = [_dispatched(node_id, *moments[low : low + 2]) for low in (at - 1, at)]
            hours = [(moments[low + 1] - moments[low]) / HOUR_MS for low in (at - 1, at)]
            rates = [round(len(prices) / spent, 3) for prices, spent in zip(parts, hours, strict=True)]
            counts, sums = [len(prices) for prices in parts], [str(sum(prices)) for prices in parts]
            expected.append((node_id, utc(moments[at]), held[at - 1][1], held[at][1], *counts, *rates, *sums))
    found = [tuple(row.values()) for row in rows("night", "stake_changes_against_revenue")]
    assert sorted(expected, key=lambda row: (row[1], row[0])) == found
    assert 3 == len(found)
    assert [] == rows("busy", "stake_changes_against_revenue")


def _dispatched(node_id: str, from_ms: int, until_ms: int) -> list[int]:
    """The prices of the paid requests that a node got in a while."""
    prices = []
    for _, event in payloads("night", topics.ROUTING_DECISIONS):
        if event["node_id"] == node_id and from_ms <= event["decided_at_ms"] < until_ms:
            then = [
                found for found in intervals("night")
                if found.key == f"{node_id}/{event['profile_id']}" and found.from_ms <= event["decided_at_ms"]
            ]  # fmt: skip
            prices.append(int(max(then, key=lambda found: found.from_ms).decision["price_wei_per_mtok"]))
    return prices


@pytest.mark.parametrize("name", LOGS)
def test_eligible_hours(name: str) -> None:
    """The time that each model and tier was eligible, summed over profiles."""
    found: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [0, set(), set()])
    for key, decision, from_ms, until_ms in intervals(name):
        if decision["eligible"]:
            entry = found[decision["model_id"], decision["route_tier"]]
            entry[0] += until_ms - from_ms
            entry[1].add(decision["node_id"])
            entry[2].add(key)
    expected = {(*place, round(ms / HOUR_MS, 3), len(nodes), len(keys)) for place, (ms, nodes, keys) in found.items()}
    assert expected == {tuple(row.values()) for row in rows(name, "eligible_hours_by_model_and_tier")}


@pytest.mark.parametrize("name", LOGS)
def test_refused_records(name: str) -> None:
    """Dead letters by day, topic and code, each refused record once."""
    counts: dict[tuple[str, str, str], set[tuple[int, int]]] = defaultdict(set)
    for record in everything(name, topics.DEAD_LETTERS):
        letter, day = orjson.loads(record.value or b""), show(record.timestamp_ms)[:10]
        counts[day, letter["topic"], letter["code"]].add((letter["partition"], letter["offset"]))
    expected = {(*place, len(found), len({partition for partition, _ in found})) for place, found in counts.items()}
    found_rows = [tuple(row.values()) for row in rows(name, "refused_records_by_code_per_day")]
    assert expected == {(str(day)[:10], *rest) for day, *rest in found_rows}
    assert expected


def test_only_what_counts_is_a_decision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replayed, torn and forged changes are on the chain and in the archive, but in no view of decisions."""
    own, origin = query.text, hostile()
    wanted = "SELECT node_id, profile_id, epoch FROM decisions"
    monkeypatch.setattr(query, "text", lambda name: wanted if name == "flapping_nodes" else own(name))
    expected, ignored = [], 0
    for partition in range(2):
        chain = origin.records[Place(CHANGES, partition)]
        epochs = accepted(chain, origin, partition)
        for record in chain:
            if record.key != b"~mark" and (epoch := epochs[record.offset]) is not None:
                decision = orjson.loads(record.value or b"")["decision"]
                expected.append((decision["node_id"], decision["profile_id"], epoch))
            ignored += record.key != b"~mark" and epochs[record.offset] is None
    assert ignored > 10
    assert sorted(expected) == sorted(query.run("flapping_nodes", archived(origin, tmp_path).directory).rows)


def test_every_example_runs_on_an_empty_archive(tmp_path: Path) -> None:
    """A network on which nothing happened yet: every answer has its columns and no rows."""
    archived(MemoryOrigin({Place(topic, 0): [] for topic in AUDITED}, 1), tmp_path / "o'clock")
    for name in query.examples():
        table = query.run(name, tmp_path / "o'clock")
        assert table.columns
        assert [] == table.rows


def test_every_example_says_what_it_answers() -> None:
    """One line each, a question; codes that stand in queries are codes of the contract."""
    for name, line in query.examples().items():
        assert line.endswith("?"), name
        assert len(line) <= 130
    known = set(LEAVES)
    assert {code for row in rows("busy", BLOCKED) for code in [row["code"]]} <= known


def test_time_zones_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days are UTC days wherever the analyst sits."""
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    calm = rows("night", BLOCKED)
    monkeypatch.setattr(query, "text", _elsewhere(query.text))
    assert calm == rows("night", BLOCKED)


def _elsewhere(text: Any) -> Any:
    return lambda name: ("SET TimeZone = 'Pacific/Auckland';\n" if name == query.VIEWS else "") + text(name)


def test_queries_read_the_archive_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not another file of this machine, and not the network."""
    (tmp_path / "other.csv").write_text("a\n1\n")
    texts = {query.VIEWS: "SELECT 1", "flapping_nodes": f"SELECT * FROM read_csv('{tmp_path}/other.csv')"}
    monkeypatch.setattr(query, "text", lambda name: texts.get(name, "-- x?"))
    with pytest.raises(UserError, match="Permission Error"):
        query.run("flapping_nodes", directory("busy"))


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings in the environment."""
    for name in [name for name in os.environ if name.startswith("B3IQ_")]:
        monkeypatch.delenv(name)


def audit(*words: str) -> int:
    """Run `audit query`."""
    return run(["audit", "query", *words])


@pytest.mark.usefixtures("calm")
def test_the_command_answers_as_text_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """The same rows in three forms; nothing that is not public in any of them."""
    where = ("--archive", str(directory("busy")))
    decision = next(event for _, event in payloads("busy", topics.ROUTING_DECISIONS))
    private = ("planted", str(directory("busy")), decision["decision_id"], decision["caller_hash"])
    for name in query.examples():
        assert 0 == audit(name, *where, "--json")
        raw = capsys.readouterr().out
        told = orjson.loads(raw)
        assert 0 == audit(name, *where, "--csv")
        sheet = capsys.readouterr().out
        listed = list(csv.DictReader(io.StringIO(sheet)))
        assert 0 == audit(name, *where)
        text = capsys.readouterr().out
        assert len(told) == len(listed) == len(text.splitlines()) - 2
        for row, line in zip(told, listed, strict=True):
            assert {key: _as_text(cell) for key, cell in row.items()} == line
        assert [] == [word for word in private if word in raw + sheet + text]


def _as_text(cell: Any) -> str:
    return " ".join(cell) if isinstance(cell, list) else "" if cell is None else str(cell)


@pytest.mark.usefixtures("calm")
def test_the_command_lists_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name: every name with its line."""
    assert 0 == audit()
    text = capsys.readouterr().out
    assert [] == [name for name, line in query.examples().items() if f"{name} " not in text or line not in text]
    assert 0 == audit("--json")
    assert query.examples() == {row["name"]: row["answers"] for row in orjson.loads(capsys.readouterr().out)}


@pytest.mark.usefixtures("calm")
def test_the_command_fails_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A wrong name, a missing archive, a broken one, two forms at once: exit code 2."""
    archive = archived(log(), tmp_path / "broken")
    (archive.directory / archive.manifest.by_place[Place(CHANGES, 0)][0].path).write_bytes(b"junk")
    for words, told in (
        (("nonsense", "--archive", "x"), "no query 'nonsense'; there are blocked_minutes"),
        (("views", "--archive", "x"), "no query 'views'"),
        (("../views", "--archive", "x"), "no query '../views'"),
        (("flapping_nodes",), "--archive is missing"),
        (("flapping_nodes", "--archive", "absent"), "absent/manifest.json: No such file"),
        (("flapping_nodes", "--archive", str(tmp_path / "broken")), "query flapping_nodes on "),
        (("--json", "--csv"), "exclude each other"),
        (("flapping_nodes", "more", "--archive", "x"), "unexpected extra argument"),
    ):
        assert 2 == audit(*words), words
        shown = capsys.readouterr()
        assert "" == shown.out
        assert 1 == len(shown.err.splitlines())
        assert told in shown.err
