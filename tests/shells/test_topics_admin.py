"""The table of topics against what a cluster says, without a cluster."""

import pytest

from b3iq_schemas.topics import HEARTBEATS, POLICIES, TOPICS
from b3iq_streams.kafka import Layout
from b3iq_streams.topics_admin import compare, wanted_config

LAYOUTS = dict.fromkeys(TOPICS, Layout(4, 3))


def configs(**changes: str) -> dict[str, dict[str, tuple[str, bool]]]:
    """A cluster's settings as the table wants them, with some of `heartbeats` changed (underscores for dots)."""
    found = {name: {key: (value, True) for key, value in wanted_config(name, 3).items()} for name in TOPICS}
    found[HEARTBEATS] |= {key.replace("_", "."): (value, True) for key, value in changes.items()}
    return found


def test_a_cluster_as_it_should_be() -> None:
    """Nothing differs, whether the number of partitions is named or taken from the inputs."""
    assert compare(LAYOUTS, configs()) == compare(LAYOUTS, configs(), 4) == []


def test_topics_that_are_missing_or_of_another_size() -> None:
    """A missing topic and an unequal number of partitions are each named."""
    layouts = {name: layout for name, layout in LAYOUTS.items() if name != POLICIES} | {"holds": Layout(5, 3)}
    assert ["policies: the topic is missing, or this user may not see it", "holds: partitions is 5, should be 4"] == [
        str(item) for item in compare(layouts, configs())
    ]
    assert {"4"} == {item.found for item in compare(LAYOUTS, configs(), 8)}
    assert [str(item) for item in compare({}, {})] == [
        f"{name}: the topic is missing, or this user may not see it" for name in TOPICS
    ]


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("message_timestamp_type", "CreateTime", "message.timestamp.type is CreateTime, should be LogAppendTime"),
        ("cleanup_policy", "compact", "should be delete: compaction destroys history"),
        ("cleanup_policy", "compact,delete", "should be delete: compaction destroys history"),
        ("max_message_bytes", "1048588", "should be 65536"),
        ("compression_type", "producer", "should be uncompressed"),
        ("retention_ms", "604800000", "retention.ms is 604800000"),
        ("retention_bytes", "1000000", "should be -1"),
        ("min_insync_replicas", "1", "should be 2"),
        ("unclean_leader_election_enable", "true", "should be false"),
    ],
)
def test_a_setting_that_is_wrong_is_named(setting: str, value: str, said: str) -> None:
    """Each is one difference, which names topic, setting, what it is and what it should be."""
    (difference,) = compare(LAYOUTS, configs(**{setting: value}))
    assert str(difference).startswith("heartbeats: ")
    assert said in str(difference)


def test_more_of_a_good_thing_is_no_difference() -> None:
    """Longer retention and more replicas in sync are an operator's choice."""
    assert compare(LAYOUTS, configs(retention_ms="-1", min_insync_replicas="3")) == []


def test_one_replica_asks_for_one_in_sync() -> None:
    """A single broker cannot have two replicas in sync."""
    assert [wanted_config(HEARTBEATS, replicas)["min.insync.replicas"] for replicas in (1, 2, 3)] == ["1", "1", "2"]
