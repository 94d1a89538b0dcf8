"""The smallest driver of a partition owner: one worker, lists for logs, virtual time, nothing ever fails."""

import itertools
from collections.abc import Callable

from b3iq_schemas import topics
from b3iq_schemas.envelope import keyid
from b3iq_schemas.policy import RootTrust
from b3iq_streams.core import actions
from b3iq_streams.core.actions import Action, Answer
from b3iq_streams.core.admit import Scope
from b3iq_streams.core.chain import ChainId
from b3iq_streams.core.owner import PartitionOwner, Tools
from b3iq_streams.core.records import Record
from tests.factory import T0, TRUST, VERIFY, Log, key


class Partition:
    """The logs around one partition, and what its owners did. `table` is the checkpoint image as it stands."""

    def __init__(self, partition: int = 0, partitions: int = 1) -> None:
        self.partition, self.partitions = partition, partitions
        self.inputs = Log(partition)
        self.chain: list[Record] = []
        self.letters: list[bytes | None] = []
        self.letter_keys: list[bytes] = []
        self.letters_logged_at_ms: list[int] = []
        self.table: dict[str, bytes] = {}
        self.commits: list[dict[str, int]] = []
        self.notices: list[str] = []
        self.confirmed: list[actions.Confirmed] = []
        self.exit: actions.Exit | None = None
        self.now_ms = T0
        self._ids = itertools.count(partition << 64)

    def owner(self, trust: RootTrust = TRUST) -> PartitionOwner:
        """A new owner, from the table as it stands."""
        signers = {keyid(bytes(key("processor").verify_key)): key("processor")}
        tools = Tools(VERIFY, signers, lambda: f"{next(self._ids):032x}", checkpoint_every_ms=2_000)
        image = actions.Checkpoint(self.table.get("~head"), {k: v for k, v in self.table.items() if k != "~head"})
        where = self.partition, self.partitions
        return PartitionOwner(ChainId(trust, *where, 500), Scope(trust, *where), image, tools)

    def drive(self, owner: PartitionOwner, epochs: int, stop: bool = False, before: Callable[[int], None] | None = None) -> None:
        """Let an owner make so many epochs, one a second; `stop` ends with a clean stop, else it is simply left."""
        conversation, answer, made = owner.run(), None, 0
        while True:
            try:
                action = conversation.send(answer)
            except StopIteration:
                return
            if isinstance(action, actions.Exit):
                self.exit = action
                return
            if isinstance(action, actions.TakeIntake):
                if made == epochs and not stop:
                    return
                made += 1
                self.now_ms += 1_000
                if before is not None:
                    before(made)
            answer = self.perform(action, stop and made > epochs)

    def perform(self, action: Action, stop: bool) -> Answer:
        """What Kafka would do."""
        match action:
            case actions.ReadChain(offset):
                return actions.ChainBatch(tuple(self.chain[offset:]), len(self.chain), 0, len(self.chain))
            case actions.ReadInputs(topic, first, last):
                records = self.inputs.records[topic]
                return actions.InputBatch(tuple(records[first:last]), 0, len(records))
            case actions.TakeIntake(positions):
                there = {topic: tuple(self.inputs.records[topic][positions[topic] :]) for topic in topics.INPUTS}
                starts = dict.fromkeys(topics.INPUTS, 0)
                return actions.Intake(self.now_ms, starts, self.inputs.ends, there, self.inputs.ends, stop)
            case actions.Append(changes, mark):
                first = len(self.chain)
                for out in (*changes, mark):
                    place = len(self.chain)
                    self.chain.append(Record(topics.ELIGIBILITY_CHANGES, self.partition, place, out.key, out.value, self.now_ms))
                return actions.Appended(first, len(self.chain) - 1, self.now_ms)
            case actions.WriteLetters(letters):
                self.letters += [letter.value for letter in letters]
                self.letter_keys += [letter.key for letter in letters]
                self.letters_logged_at_ms += [self.now_ms] * len(letters)
            case actions.WriteCheckpoint(nodes, head):
                for out in (*nodes, head):
                    if out.value is None:
                        self.table.pop(out.key.decode(), None)
                    else:
                        self.table[out.key.decode()] = out.value
            case actions.Commit(cut):
                self.commits.append(dict(cut))
                return True
            case actions.Confirmed():
                self.confirmed.append(action)
            case actions.Notice(_, code, _):
                self.notices.append(code)
        return None
