"""What a lookup costs with 1,000 candidates for the model, and what a profile costs in memory.

Run `python -m tests.bench.bench_router`. Bars (DESIGN §11): lookup at most 5 µs, at most 1 KiB per profile.
Prints; asserts nothing.
"""

import gc
import sys
import timeit
import tracemalloc

from b3iq_streams.router.view import RouterView
from tests.chainlab import decision
from tests.factory import T0
from tests.shells.router_lab import RouterLab, request

CANDIDATES = 1_000
PROFILES = 50_000
MODELS = 50
PARTITIONS = 12
LOOKUPS = 50_000


def offer(number: int, eligible: bool = True, model: int = 0) -> dict[str, object]:
    """A decision on one of many profiles, each with a price of its own."""
    name = f"node-{number:08d}-4f1c9a/qwen3.6-35b-q5-{number % 4}"
    changes = {"price_wei_per_mtok": str(10**14 + number * 7919 % 10**9), "model_id": f"model-{model}.gguf"}
    return decision(name, eligible, throughput_mtok_per_s=50_000 + number, benchmarked_at_ms=T0 - number, **changes)


def lookups() -> None:
    """Best, worst and refused lookups on a view of several partitions."""
    lab = RouterLab(PARTITIONS)
    for at, chain in enumerate(lab.chains):
        chain.epoch(*(offer(number) for number in range(at, CANDIDATES, PARTITIONS)), at_ms=T0)
    lab.boot()
    view, model = lab.view, "model-0.gguf"
    cases = {
        "granted, the first candidate fits": request(model),
        "granted, with estimate and limits": request(model, 4_000, spend_cap_wei="9" * 20, price_max_wei_per_mtok="9" * 20),
        "refused, an unknown model": request("no-such-model"),
        "refused, every candidate too dear": request(model, price_max_wei_per_mtok="1"),
    }
    for name, wanted in cases.items():
        number = LOOKUPS if "every" not in name else LOOKUPS // 500
        seconds = min(timeit.repeat(lambda wanted=wanted: view.pick(wanted, T0, T0), number=number, repeat=5))  # type: ignore[misc]
        print(f"lookup, {view.count(model)} candidates, {name}: {seconds / number * 1e6:.2f} µs")


def bytes_per_profile(eligible: bool) -> float:
    """Traced bytes that a view holds per profile, once everything it was fed from is gone."""
    fed: RouterView
    lab = RouterLab()
    chain = lab.chains[0]
    lab.boot()
    fed = lab.view
    written = chain.epoch(*(offer(number, eligible, number % MODELS) for number in range(PROFILES)), at_ms=T0)
    tracemalloc.start()
    for at in range(len(written)):
        # Fresh copies, as a client would hand in, so that nothing the view keeps is paid for by the lab.
        record = written[at]
        fed.apply(record._replace(value=bytes(bytearray(record.value or b""))))
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(map(fed.count, fed.models())) == (PROFILES if eligible else 0)
    return held / PROFILES


def main() -> None:
    """Print all figures."""
    lookups()
    for eligible in (True, False):
        kind = "eligible" if eligible else "blocked"
        print(f"memory, {PROFILES} {kind} profiles: {bytes_per_profile(eligible):.0f} B per profile")
    print(f"python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
