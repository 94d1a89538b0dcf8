"""A Kafka broker inside this process, for `make demo` on a machine with nothing but Python; all in memory.

It is the mock cluster that the confluent-kafka wheel carries for librdkafka's own tests, so it speaks the real protocol
on a real port; but it is no Kafka, and nothing outside a demo should rely on it. Each line below was tried with
librdkafka 2.16, aiokafka 0.14 and Faust 0.15.3; `tests/kafka/test_embedded.py` holds what the demo stands on.

Works
- aiokafka producers, idempotent (sequence numbers are checked) or not, `acks="all"`, explicit partitions, whole batches,
  gzip; acknowledged base offsets are right. Consumers with `assign`, `seek` (also into a batch), first and end offsets,
  headers, group commits.
- 40,000 records/s of 1.8 kB either way when batched; 2,000/s one by one, since a fetch returns one batch a partition.
- A group of **one** consumer. Its first join takes 3 s (a fixed delay), a later one 5 s, or more after a crash.
- One Faust worker with `topic_allow_declare=False` and the topics made beforehand: assignment, table changelog, and
  recovery of the table by a new worker, 3 to 6 s after a SIGTERM or a SIGKILL.

Does not
- **Long polls**: a fetch that finds nothing answers when its wait is over, not when a record comes. Latency is therefore
  the consumer's `fetch_max_wait_ms`: `FETCH_WAIT_MS_MAX` or less for a lively demo (Faust's own choice is 1,500).
- **Time**: records keep the sender's time (CreateTime). There is no LogAppendTime, although every acknowledgement claims
  one (1234 ms after the epoch), and no lookup of offsets by time.
- **Topics**: no CreateTopics, DescribeConfigs, ListGroups or other admin requests, and no controller. A topic exists
  once somebody asks for it by name, always with `PARTITIONS` partitions, whatever its settings were meant to be.
- **Groups of two or more**: a follower that syncs after the leader is refused (InvalidRequest), and aiokafka gives up.
  A static member (`group_instance_id`) that comes back is a stranger: it joins when its old session has timed out.
- **Retention**: a partition keeps its latest 5 MiB and 100,000 batches; a reader further behind gets OffsetOutOfRange.
  Nothing is compacted, so a table changelog loses its oldest keys, too.
- The size of a batch is not limited, `max.message.bytes` or not, and nobody is authenticated.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

PARTITIONS = 4
FETCH_WAIT_MS_MAX = 20
ANSWER_TIMEOUT_S = 10


class EmbeddedBroker:
    """An in-memory broker on a loopback port, gone with everything in it when the block ends."""

    def __init__(self, topics: Iterable[str] = ()) -> None:
        """Name the topics to have from the start; each gets `PARTITIONS` partitions."""
        self._topics = tuple(topics)
        self._handle: Producer | None = None
        self.bootstrap = ""

    def __enter__(self) -> Self:
        # The mock cluster replaces the configured servers, and lives as long as the client handle that owns it. Its log
        # line about that replacement is silenced: who uses this class says in their own words what they run on.
        self._handle = Producer({"bootstrap.servers": "embedded:0", "test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = self._handle.list_topics(timeout=ANSWER_TIMEOUT_S).brokers.values()
        self.bootstrap = f"{broker.host}:{broker.port}"
        for topic in self._topics:
            self.create(topic)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None) -> None:
        self._handle = None
        self.bootstrap = ""

    def create(self, topic: str) -> None:
        """Make a topic by asking for it, which is the only way there is here."""
        if self._handle is None:
            raise RuntimeError("The embedded broker is not running: use it as a context manager.")
        self._handle.list_topics(topic, timeout=ANSWER_TIMEOUT_S)
