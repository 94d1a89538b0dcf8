"""Owners for a worker: trust, keys and randomness from outside, given to the pure core; signatures checked ahead.

The only place where attempt ids are drawn. It moves no records.
"""

import secrets
from collections.abc import Sequence

from nacl.signing import SigningKey

from b3iq_schemas.envelope import keyid, verify
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core.actions import Checkpoint
from b3iq_streams.core.admit import Opened, Scope, open_record
from b3iq_streams.core.chain import ChainId
from b3iq_streams.core.owner import PartitionOwner, Tools
from b3iq_streams.core.records import Record


class Owners:
    """Makes the owner of each partition, all with the same trust and keys."""

    def __init__(
        self,
        trust: RootTrust,
        partitions: int,
        signers: Sequence[SigningKey],
        *,
        checkpoint_every_ms: int = 5_000,
        require_log_append_time: bool = True,
    ) -> None:
        self._trust, self._partitions = trust, partitions
        self._require_log_append_time = require_log_append_time
        self._tools = Tools(
            verify=verify,
            signers={keyid(bytes(key.verify_key)): key for key in signers},
            attempt=lambda: secrets.token_hex(16),
            checkpoint_every_ms=checkpoint_every_ms,
        )

    def scope(self, partition: int) -> Scope:
        """What records of a partition are admitted against."""
        return Scope(self._trust, partition, self._partitions, self._require_log_append_time)

    def make(self, partition: int, checkpoint: Checkpoint) -> PartitionOwner:
        """The owner of a partition, about to recover from a checkpoint image."""
        chain = ChainId(self._trust, partition, self._partitions, self._trust.skew_ms)
        return PartitionOwner(chain, self.scope(partition), checkpoint, self._tools)

    def open_batch(self, records: Sequence[Record], owner: PartitionOwner) -> list[Opened]:
        """Open fetched records and check their signatures against the keys known now; runs on a thread of its own.

        Only a head start: admission checks again where the keys have changed since.
        """
        scope = self.scope(records[0].partition)
        return [open_record(record, owner.keys_for(record.topic, record.key), scope, verify) for record in records]
