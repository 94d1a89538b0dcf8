"""The policy in force and what each revision changed, without keys: of those, their ids only."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from b3iq_schemas.envelope import keyid
from b3iq_schemas.policy import Policy
from b3iq_streams.catalog.models import Changed, HoldDownRule, PolicyInForce, Revision, Setting, Tier
from b3iq_streams.core.book import PolicyBook
from b3iq_streams.core.rules import Rules

REVISIONS_MAX = 50
_TTLS = ("heartbeat_ttl_ms", "route_health_ttl_ms", "registration_ttl_ms", "benchmark_ttl_ms")
_PLAIN = (
    *_TTLS, "sent_at_past_ms", "sent_at_future_ms", "boot_jump_max", "seq_jump_max", "equivocation_block_ms",
    "stake_wei_min", "queue_states_passing", "refresh_period_ms", "grace_ms",
)  # fmt: skip


def policy_in_force(book: PolicyBook) -> PolicyInForce:
    """The newest revision known, and the changes of the last revisions, newest first."""
    revisions, newest = book.revisions, book.newest
    changes = tuple(_revision(old, new) for old, new in pairwise((None, *revisions)))[::-1][:REVISIONS_MAX]
    if newest is None:
        return PolicyInForce(
            revision=None, published_at_ms=None, tiers={}, ttls={}, hold_down=None, stake_wei_min=None,
            queue_states_passing=(), grace_ms=None, refresh_period_ms=None, changes=changes,
        )  # fmt: skip
    policy = newest.policy
    return PolicyInForce(
        revision=policy.revision,
        published_at_ms=newest.proof.logged_at_ms,
        tiers={name: Tier(paid=rule.paid, runtimes=rule.runtimes) for name, rule in sorted(policy.tiers.items())},
        ttls={name: getattr(policy, name) for name in _TTLS},
        hold_down=HoldDownRule(**policy.hold_down.model_dump()),
        stake_wei_min=policy.stake_wei_min,
        queue_states_passing=policy.queue_states_passing,
        grace_ms=policy.grace_ms,
        refresh_period_ms=policy.refresh_period_ms,
        changes=changes,
    )


def _revision(old: Rules | None, new: Rules | None) -> Revision:
    assert new is not None
    before, after = _settings(old.policy) if old else {}, _settings(new.policy)
    changed = _differences(before, after) if old else ()
    return Revision(revision=new.policy.revision, published_at_ms=new.proof.logged_at_ms, changed=tuple(changed))


def _differences(before: Mapping[str, Setting], after: Mapping[str, Setting]) -> Iterator[Changed]:
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was != now:
            yield Changed.model_validate({"field": name, "from": was, "to": now})


def _settings(policy: Policy) -> dict[str, Setting]:
    """Every setting by its path; keys by their ids."""
    found: dict[str, Setting] = {name: getattr(policy, name) for name in _PLAIN}
    for name, rule in policy.tiers.items():
        found[f"tiers.{name}.paid"], found[f"tiers.{name}.runtimes"] = rule.paid, rule.runtimes
    for name, value in policy.hold_down:
        found[f"hold_down.{name}"] = value
    for role, keys in policy.roles:
        found[f"roles.{role}"] = tuple(keyid(bytes.fromhex(key)) for key in keys)
    return found
