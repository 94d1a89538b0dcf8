"""`router`: ask a live view once, as a router would, or watch eligibility change."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
import orjson
from pydantic import ValidationError

from b3iq_schemas.codes import ROUTE_REFUSAL_MEANING
from b3iq_schemas.policy import RootTrust
from b3iq_streams import keys as key_files
from b3iq_streams.cli_options import bound_option, kafka_options, path_option, read, trust_option, view_timeout_option
from b3iq_streams.errors import UserError, first_problem
from b3iq_streams.kafka import publisher
from b3iq_streams.router.client import RouterClient
from b3iq_streams.router.log import CALLERS_VARIABLE, DecisionLog, caller_secret
from b3iq_streams.router.partition import Flip, Step, ViewSettings
from b3iq_streams.router.request import CallerPolicy, Request
from b3iq_streams.router.view import Choice, RouterView
from b3iq_streams.settings import KafkaSettings

OPERATOR = CallerPolicy(caller_id="operator", account_status="active", balance_wei="9" * 78)
"""Who asks when no caller is given: nobody's account, nothing restricted."""
_RELAXED = click.option("--relaxed", is_flag=True, help="Accept records that the broker did not stamp (embedded broker).")
_BOUND = bound_option("Oldest view to act on.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One line of JSON each.")


class Logging(NamedTuple):
    """How decisions are written down: the router's key file, and the secret that keys the hash of callers."""

    key: Path
    secret: str


@click.group(no_args_is_help=False)
def command() -> None:
    """Follow eligibility as a router does."""


@command.command()
@click.option("--model", required=True, help="The model to be served.")
@path_option("--caller", help="The caller's policy as JSON.  [default: no restriction]")
@click.option("--tier", "tiers", multiple=True, help="Allow this route tier only; may be repeated.")
@click.option("--max-price", metavar="WEI", help="Highest price of a million tokens.")
@click.option("--tokens", type=click.IntRange(min=0), default=0, metavar="N", help="Estimated tokens of the call.")
@path_option("--key", help=f"Router key file: sign the decision and log it before answering; needs {CALLERS_VARIABLE}.")
@view_timeout_option
@_BOUND
@_RELAXED
@_JSON
@kafka_options
@trust_option
@click.pass_context
def pick(
    ctx: click.Context,
    *,
    kafka: KafkaSettings,
    trust: RootTrust,
    model: str,
    caller: Path | None,
    tiers: tuple[str, ...],
    max_price: str | None,
    tokens: int,
    key: Path | None,
    timeout_s: float,
    bound_ms: int,
    relaxed: bool,
    as_json: bool,
) -> None:
    """Choose who serves a call: exit code 0 if it is allowed, 1 if it is refused."""
    request = Request(model, _caller(caller, tiers, max_price), tokens)
    logging = Logging(key, caller_secret()) if key is not None else None
    settings = ViewSettings(bound_ms=bound_ms, stamped=not relaxed)
    choice = asyncio.run(_pick(kafka, trust, settings, request, logging, timeout_s))
    click.echo(orjson.dumps(_as_data(choice)) if as_json else _as_text(choice))
    ctx.exit(0 if choice.allowed else 1)


def _caller(path: Path | None, tiers: tuple[str, ...], max_price: str | None) -> CallerPolicy:
    """The caller in the file, with the flags' limits instead of its own."""
    try:
        given = CallerPolicy.model_validate_json(read(path, "caller")) if path else OPERATOR
        flags: dict[str, Any] = {
            "tiers": tiers or given.tiers,
            "price_max_wei_per_mtok": max_price or given.price_max_wei_per_mtok,
        }
        return CallerPolicy.model_validate(given.model_dump() | flags)
    except ValidationError as error:
        raise UserError(f"{path or 'the flags'} make no caller's policy: {first_problem(error)}") from None


async def _pick(
    kafka: KafkaSettings, trust: RootTrust, settings: ViewSettings, request: Request, logging: Logging | None, timeout_s: float
) -> Choice:
    async with AsyncExitStack() as stack:
        decisions = None
        if logging is not None:
            writer = await stack.enter_async_context(publisher(kafka))
            decisions = DecisionLog(writer, key_files.load(logging.key), logging.secret.encode())
        client = await stack.enter_async_context(RouterClient(kafka, trust, settings, decisions))
        await client.synced(timeout_s)
        return await client.pick(request)


def _as_data(choice: Choice) -> dict[str, Any]:
    if choice.refusal is not None:
        status, detail = ROUTE_REFUSAL_MEANING[choice.refusal]
        return {"allowed": False, "code": choice.code, "status": status, "detail": detail}
    chosen = choice.candidate
    assert chosen is not None
    return {
        "allowed": True,
        "code": choice.code,
        "node_id": chosen.node_id,
        "profile_id": chosen.profile_id,
        "model_id": chosen.model_id,
        "route_tier": chosen.route_tier,
        "runtime_kind": chosen.runtime_kind,
        "price_wei_per_mtok": str(chosen.price_wei),
        "throughput_mtok_per_s": chosen.throughput,
    }


def _as_text(choice: Choice) -> str:
    said = _as_data(choice)
    if not choice.allowed:
        return f"refused  {said['code']}: {said['detail']}"
    place = f"{said['node_id']}/{said['profile_id']}"
    return f"allowed  {place}  {said['route_tier']} {said['runtime_kind']}, {said['price_wei_per_mtok']} wei per million tokens"


@command.command()
@view_timeout_option
@_BOUND
@_RELAXED
@_JSON
@kafka_options
@trust_option
def watch(*, kafka: KafkaSettings, trust: RootTrust, timeout_s: float, bound_ms: int, relaxed: bool, as_json: bool) -> None:
    """Print what opens and closes, as it happens, until Ctrl-C."""

    def show(step: Step) -> None:
        for flip in step.flips:
            click.echo(_flip_data(step, flip) if as_json else _flip_text(step, flip))

    asyncio.run(_watch(RouterClient(kafka, trust, ViewSettings(bound_ms=bound_ms, stamped=not relaxed), watch=show), timeout_s))


async def _watch(client: RouterClient, timeout_s: float) -> None:
    async with client:
        if not await client.synced(timeout_s):
            click.echo(f"no complete view after {timeout_s:g} s, still trying", err=True)
        click.echo(_summary(client.view), err=True)
        await asyncio.Event().wait()


def _summary(view: RouterView) -> str:
    entries = [entry for part in view.parts for entry in part.entries.values()]
    eligible = sum(entry.eligible for entry in entries)
    return f"watching {view.trust.network}: {len(view.parts)} partitions, {eligible} of {len(entries)} profiles eligible"


def _flip_text(step: Step, flip: Flip) -> str:
    at = datetime.fromtimestamp(step.accepted.head.resolved_at_ms / 1_000, UTC)
    return f"{at:%H:%M:%S}.{at.microsecond // 1_000:03d}  {flip.what:<7}  {flip.key}  {' '.join(flip.codes)}".rstrip()


def _flip_data(step: Step, flip: Flip) -> bytes:
    head = step.accepted.head
    return orjson.dumps(
        {
            "resolved_at_ms": head.resolved_at_ms,
            "partition": step.partition,
            "epoch": head.epoch,
            "key": flip.key,
            "what": flip.what,
            "codes": flip.codes,
        }
    )
