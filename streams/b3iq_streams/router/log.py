"""The record of every dispatch choice on `routing-decisions`: signed by a router key, on disk before the answer is given.

No prompt and no customer: the caller appears as a keyed hash, and its policy as a digest.
"""

import os
import secrets
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import islice

from nacl.signing import SigningKey

from b3iq_schemas.canonical import canonical
from b3iq_schemas.codes import RouteRefusal
from b3iq_schemas.decisions import ROUTING_DECISION_V1, Considered, RoutingDecision, ViewPosition
from b3iq_schemas.envelope import sign
from b3iq_schemas.topics import ROUTING_DECISIONS
from b3iq_streams.core.chain import Head
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Publisher
from b3iq_streams.router.request import Request
from b3iq_streams.router.supply import Candidate
from b3iq_streams.router.view import Choice, RouterView

CONSIDERED_MAX = 32
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 16, 64
CALLERS_VARIABLE = "B3IQ_CALLER_SECRET"


def caller_secret() -> str:
    """What keys the hash of callers: from the environment only, as everybody on the machine may read a process's arguments.
    Raises UserError if there is none, or if its length is no secret's."""
    secret = os.environ.get(CALLERS_VARIABLE)
    if not secret:
        raise UserError(f"{CALLERS_VARIABLE} is not set: logged decisions name callers by a hash, and it is the key")
    if not SECRET_BYTES_MIN <= len(secret.encode()) <= SECRET_BYTES_MAX:
        raise UserError(f"{CALLERS_VARIABLE} must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


class DecisionLog:
    """Composes, signs and appends decisions. `secret` keys the hash of callers; whoever has it can tell them apart."""

    def __init__(self, publisher: Publisher, key: SigningKey, secret: bytes) -> None:
        if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
            raise ValueError(f"the secret for caller hashes must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
        self._publisher, self._key, self._secret = publisher, key, secret

    def compose(self, view: RouterView, request: Request, choice: Choice, now_ms: int, monotonic_ms: int) -> RoutingDecision:
        """The decision as data, with what was considered and the position of the view it was made on."""
        chosen = choice.candidate
        return RoutingDecision(
            network=view.trust.network,
            decision_id=secrets.token_hex(16),
            decided_at_ms=now_ms,
            model_id=request.model,
            caller_hash=blake2b(request.caller.caller_id.encode(), key=self._secret, digest_size=32).hexdigest(),
            request_policy_sha256=request.caller.digest,
            allowed=choice.allowed,
            code=choice.code,
            node_id=chosen.node_id if chosen else None,
            profile_id=chosen.profile_id if chosen else None,
            considered=_considered(chosen, view.candidates(request, now_ms, monotonic_ms)),
            considered_total=view.count(request.model),
            view=_positions(view.heads()),
        )

    async def write(self, decision: RoutingDecision) -> None:
        """Sign and append; returns once the record is acknowledged, raises if it is not."""
        value = sign(ROUTING_DECISION_V1, canonical(decision), [self._key])
        await self._publisher.publish([(ROUTING_DECISIONS, decision.decision_id.encode(), value)])


def _considered(chosen: Candidate | None, candidates: Iterable[tuple[Candidate, RouteRefusal | None]]) -> tuple[Considered, ...]:
    """The first candidates in the order of rank, with reasons; the chosen one is always among them."""
    first = list(islice(candidates, CONSIDERED_MAX))
    if chosen is not None and all(candidate is not chosen for candidate, _ in first):
        first[-1] = chosen, None
    return tuple(
        Considered(node_id=candidate.node_id, profile_id=candidate.profile_id, reason=code or "") for candidate, code in first
    )


def _positions(heads: Sequence[Head]) -> tuple[ViewPosition, ...]:
    return tuple(
        ViewPosition(partition=partition, epoch=head.epoch, digest=head.digest, resolved_at_ms=head.resolved_at_ms)
        for partition, head in enumerate(heads)
    )
