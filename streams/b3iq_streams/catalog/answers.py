"""Composes the public answers from what the store holds and how things stand. Every field is one of `models.py`'s.

While nothing can be claimed, `eligible` is None everywhere; what was decided, and when, is still said.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from b3iq_schemas.codes import LEAVES
from b3iq_streams.catalog import models
from b3iq_streams.catalog.blockers import blockers_of, gate_of
from b3iq_streams.catalog.cursors import encode_node, encode_row
from b3iq_streams.catalog.index import Filter
from b3iq_streams.catalog.rows import GATES, Row, RowId
from b3iq_streams.catalog.standing import Standing
from b3iq_streams.catalog.store import Happened
from b3iq_streams.router.partition import Step

if TYPE_CHECKING:
    from b3iq_streams.catalog.live import Live

_LEAVES = tuple(
    models.LeafRow(code=leaf.code, gate=leaf.gate.value, group=leaf.group, condition=leaf.condition, next_action=leaf.next_action)
    for leaf in LEAVES.values()
)
_LEAF_ORDER = {code: at for at, code in enumerate(LEAVES)}


def status_event(live: "Live", standing: Standing) -> models.StatusEvent:
    """How things stand."""
    return models.StatusEvent(**_status(live, standing))


def status(live: "Live", standing: Standing) -> models.Status:
    """How things stand, with every partition."""
    partitions = tuple(
        models.Partition(
            partition=number, epoch=head.epoch, digest=head.digest, resolved_at_ms=head.resolved_at_ms or None, code=code
        )
        for number, (head, code) in enumerate(zip(live.view.heads(), standing.codes, strict=True))
    )
    return models.Status(**_status(live, standing), partitions=partitions)


def overview(live: "Live", standing: Standing) -> models.Overview:
    """Counts per model and tier, per gate, per code."""
    blocked = dict(live.store.index.count("gate"))
    codes = sorted(
        live.store.index.count("code"), key=lambda item: (-item[1], _LEAF_ORDER.get(item[0], len(_LEAF_ORDER)), item[0])
    )
    return models.Overview(
        **_claiming(live, standing),
        groups=tuple(
            models.Group(
                model_id=model,
                route_tier=tier,
                total=group.total,
                eligible=group.eligible(standing) if standing.ready else None,
                spark=tuple(group.points),
            )
            for (model, tier), group in live.store.census.groups()
        ),
        spark_step_ms=live.settings.spark_step_ms,
        gates=models.BlockedGates(**{gate: models.Blocked(blocked=blocked.get(gate, 0)) for gate in GATES}),
        blockers=tuple(
            models.BlockerCount(code=code, gate=gate_of(code, live.store.index), profiles=profiles) for code, profiles in codes
        ),
    )  # fmt: skip


def profiles(live: "Live", standing: Standing, wanted: Filter, after: RowId | None, limit: int) -> models.Profiles:
    """A page of profiles."""
    page = live.store.index.page(wanted, standing, after, limit)
    return models.Profiles(
        **_claiming(live, standing),
        items=tuple(profile(row, standing) for row in page.rows),
        next=encode_row(page.rows[-1].id) if page.more else None,
        total=page.total,
    )


def nodes(live: "Live", standing: Standing, q: str | None, after: str | None, limit: int) -> models.Nodes:
    """A page of nodes."""
    page = live.store.index.nodes(q, after, limit)
    return models.Nodes(
        **_claiming(live, standing),
        items=tuple(_node(node_id, live.store.index.of_node(node_id), standing) for node_id in page.ids),
        next=encode_node(page.ids[-1]) if page.more else None,
        total=page.total,
    )


def readiness(live: "Live", standing: Standing, node_id: str, model: str | None) -> models.Readiness:
    """One node: its profiles (of one model), and what changed lately."""
    rows = live.store.index.of_node(node_id)
    return models.Readiness(
        **_claiming(live, standing),
        node_id=node_id,
        known=bool(rows),
        profiles=tuple(profile(row, standing) for row in rows if model is None or row.candidate.model_id == model),
        leaves=_LEAVES,
        history=live.store.history.of(node_id) if rows else (),
    )


def profile(row: Row, standing: Standing) -> models.Profile:
    """One profile as last decided."""
    candidate, decision = row.candidate, row.decision
    return models.Profile(
        node_id=candidate.node_id,
        profile_id=candidate.profile_id,
        model_id=candidate.model_id,
        route_tier=candidate.route_tier,
        runtime_kind=candidate.runtime_kind,
        eligible=_claim(row, standing),
        gates=_gates(row),
        blockers=blockers_of(row, decision, standing),
        throughput_mtok_per_s=candidate.throughput,
        benchmarked_at_ms=candidate.benchmarked_at_ms,
        valid_until_ms=candidate.valid_until_ms,
        decided_at_ms=decision.decided_at_ms,
        policy_revision=decision.policy_revision,
        evidence=tuple(
            models.Evidence(partition=candidate.partition, **one.model_dump()) for one in decision.evidence
        ),
    )  # fmt: skip


def change_event(step: Step, happened: Happened, standing: Standing) -> models.ChangeEvent:
    """A change as it goes out to readers."""
    row, past = happened.row, happened.past
    gone = happened.gone
    return models.ChangeEvent(
        at_ms=past.at_ms,
        partition=step.partition,
        epoch=past.epoch,
        node_id=row.id.node_id,
        profile_id=past.profile_id,
        what=past.what,
        codes=past.codes,
        eligible=(False if standing.ready else None) if gone else _claim(row, standing),
        gates=models.Gates(**dict.fromkeys(GATES, "unknown")) if gone else _gates(row),
        model_id=row.candidate.model_id,
        route_tier=row.candidate.route_tier,
    )


def _status(live: "Live", standing: Standing) -> dict[str, Any]:
    newest = live.view.book.newest
    return _claiming(live, standing) | {
        "network": live.view.trust.network,
        "now_ms": standing.at_ms,
        "bound_ms": live.view.settings.bound_ms,
        "policy_revision": newest.policy.revision if newest else None,
        "profiles": len(live.store.index.rows),
        "eligible": live.store.census.eligible(standing) if standing.ready else None,
    }


def _claiming(live: "Live", standing: Standing) -> dict[str, Any]:
    resolved_at_ms = min(head.resolved_at_ms for head in live.view.heads())
    return {"ready": standing.ready, "code": standing.code, "resolved_at_ms": resolved_at_ms or None}


def _claim(row: Row, standing: Standing) -> bool | None:
    return standing.grants(row.candidate) if standing.ready else None


def _gates(row: Row) -> models.Gates:
    return models.Gates(**dict(zip(GATES, row.gates, strict=True)))


def _node(node_id: str, rows: Iterable[Row], standing: Standing) -> models.Node:
    rows = list(rows)
    codes = {code for row in rows for code in row.candidate.codes}
    return models.Node(
        node_id=node_id,
        profiles=len(rows),
        eligible=sum(standing.grants(row.candidate) for row in rows) if standing.ready else None,
        codes=tuple(sorted(codes, key=lambda code: (_LEAF_ORDER.get(code, len(_LEAF_ORDER)), code))),
    )
