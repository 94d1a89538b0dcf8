"""What one processor worker can be told. Does not read the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from b3iq_streams.processor.names import GROUP


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """One worker. Sizes are bounds on memory, not targets: an intake takes what is there when little is there."""

    bootstrap: str
    group: str = GROUP
    instance: str | None = None
    """Static group membership: a restart within the session timeout keeps its partitions."""
    datadir: Path = Path("data")
    web_host: str = "127.0.0.1"
    web_port: int | None = None
    """None: no web server. 0: any free port."""
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """aiokafka's `security_protocol`, `ssl_context` and `sasl_*`, for every connection; holds the password, hence no repr."""
    session_timeout_ms: int = 10_000
    heartbeat_interval_ms: int = 1_000
    standby_replicas: int = 1
    idle_epoch_ms: int = 1_000
    catch_up_ms: int = 100
    """How long an intake waits for records that the end offsets promise; then their topic counts as late."""
    intake_records: int = 400
    """An epoch is some 50 ms of work, also when all of it is new nodes: partitions take turns on one thread."""
    intake_bytes: int = 4 << 20
    inbox_records: int = 4_000
    """Per topic and partition; fetching pauses above it."""
    inbox_bytes: int = 16 << 20
    """Per worker; fetching pauses above it."""
    batch_bytes: int = 900_000
    log_append_time: bool = True
    """False for a broker that does not stamp records: then an epoch's time is the one it was sent with."""
    stall_ms: int = 10_000
    """A live partition without a finished epoch for so long ends the process."""
    recovery_ms: int = 300_000
    """The same for a partition that has not got live yet, without any step of its recovery; a rebuild may take longer."""
    starve_ms: int = 30_000
    """An input that has more and brings nothing for so long ends the process."""
