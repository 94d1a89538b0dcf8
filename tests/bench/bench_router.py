"""What a lookup costs with 1,000 candidates for the model, and what a profile costs in memory."""

import gc
import timeit
import tracemalloc
from collections.abc import Iterator

from b3iq_streams.router.view import RouterView
from tests.bench.table import Options, Row
from tests.chainlab import decision
from tests.factory import T0
from tests.shells.router_lab import RouterLab, request

CANDIDATES = 1_000
PROFILES, PROFILES_QUICK = 50_000, 5_000
MODELS = 50
PARTITIONS = 12
LOOKUPS = 20_000
LOOKUP_US, PROFILE_BYTES = 5, 1_024


def offer(number: int, eligible: bool = True, model: int = 0) -> dict[str, object]:
    """A decision on one of many profiles, each with a price of its own."""
    name = f"node-{number:08d}-4f1c9a/qwen3.6-35b-q5-{number % 4}"
    changes = {"price_wei_per_mtok": str(10**14 + number * 7919 % 10**9), "model_id": f"model-{model}.gguf"}
    return decision(name, eligible, throughput_mtok_per_s=50_000 + number, benchmarked_at_ms=T0 - number, **changes)


def lookups(repeats: int) -> Iterator[Row]:
    """Granted and refused lookups on a view of several partitions."""
    lab = RouterLab(PARTITIONS)
    for at, chain in enumerate(lab.chains):
        chain.epoch(*(offer(number) for number in range(at, CANDIDATES, PARTITIONS)), at_ms=T0)
    lab.boot()
    view, model = lab.view, "model-0.gguf"
    cases = {
        "granted": request(model),
        "granted, with estimate and limits": request(model, 4_000, spend_cap_wei="9" * 20, price_max_wei_per_mtok="9" * 20),
        "unknown model": request("no-such-model"),
        "all too dear, and why": request(model, price_max_wei_per_mtok="1"),
    }
    for name, wanted in cases.items():
        number = LOOKUPS if "dear" not in name else LOOKUPS // 500
        seconds = min(timeit.repeat(lambda wanted=wanted: view.pick(wanted, T0, T0), number=number, repeat=repeats))  # type: ignore[misc]
        taken_us, barred = seconds / number * 1e6, "granted" in name
        yield Row(
            f"router lookup among {view.count(model):,}: {name}", f"≤ {LOOKUP_US} µs" if barred else "", f"{taken_us:.1f} µs",
            met=taken_us <= LOOKUP_US if barred else None,
        )  # fmt: skip


def bytes_per_profile(eligible: bool, profiles: int) -> float:
    """Traced bytes that a view holds per profile, once everything it was fed from is gone."""
    fed: RouterView
    lab = RouterLab()
    chain = lab.chains[0]
    lab.boot()
    fed = lab.view
    written = chain.epoch(*(offer(number, eligible, number % MODELS) for number in range(profiles)), at_ms=T0)
    tracemalloc.start()
    for at in range(len(written)):
        # Fresh copies, as a client would hand in, so that nothing the view keeps is paid for by the lab.
        record = written[at]
        fed.apply(record._replace(value=bytes(bytearray(record.value or b""))))
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(fed.count, fed.models())) == (profiles if eligible else 0)
    return held / profiles


def run(options: Options) -> Iterator[Row]:
    """Lookups, then memory."""
    yield from lookups(3 if options.quick else 15)
    profiles = PROFILES_QUICK if options.quick else PROFILES
    for eligible in (True, False):
        held = bytes_per_profile(eligible, profiles)
        kind = "eligible" if eligible else "blocked"
        yield Row(f"router memory per {kind} profile", f"≤ {PROFILE_BYTES:,} B", f"{held:.0f} B", met=held <= PROFILE_BYTES)
