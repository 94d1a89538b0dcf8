"""What a demo stands on: an embedded broker of its own, or a broker that it was given."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from b3iq_schemas.topics import TOPICS
from b3iq_streams import kafka, topics_admin
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Layout
from b3iq_streams.settings import KafkaSettings, load

PARTITIONS = 4
EMBEDDED = "embedded:0"


class Ground(NamedTuple):
    """A broker, and whether it is the embedded one."""

    kafka: KafkaSettings
    embedded: bool

    @property
    def stamped(self) -> bool:
        """Whether the broker stamps records (LogAppendTime), and everybody may insist on it."""
        return not self.embedded

    @property
    def story(self) -> str:
        """What it is, in words."""
        if self.embedded:
            return (
                f"embedded broker at {self.kafka.bootstrap}: in memory, gone when the demo ends; "
                "it does not stamp records, so the LogAppendTime check is relaxed"
            )
        return f"broker at {self.kafka.bootstrap}"


@contextmanager
def ground(bootstrap: str | None, kafka_config: Path | None) -> Iterator[Ground]:
    """The broker at an address, or an embedded one for the length of the block."""
    if bootstrap is not None:
        yield Ground(load(KafkaSettings, bootstrap=bootstrap, kafka_config=kafka_config), False)
        return
    if kafka_config is not None:
        raise UserError("--kafka-config says nothing without --bootstrap: the embedded broker knows no users")
    if (protocol := load(KafkaSettings, bootstrap=EMBEDDED).security_protocol) != "PLAINTEXT":
        raise UserError(f"security_protocol is {protocol}, and the embedded broker has none: give --bootstrap, or unset it")
    from b3iq_streams.embedded import EmbeddedBroker

    with EmbeddedBroker(TOPICS) as broker:
        yield Ground(load(KafkaSettings, bootstrap=broker.bootstrap), True)


async def prepare(on: Ground) -> None:
    """See to it that the topics are there. Makes them if none is; never changes what somebody else has made."""
    if on.embedded:
        return
    async with kafka.admin(on.kafka) as admin:
        if not await admin.layouts(tuple(TOPICS)):
            await topics_admin.apply(admin, Layout(PARTITIONS, 1))
        await topics_admin.require(admin)
