"""The probe: what each runtime really answers is understood, and anything else is "not reachable", in time."""

import asyncio
import gzip
import time
from pathlib import Path

import pytest

from b3iq_schemas.canonical import canonical
from b3iq_streams.errors import UserError
from b3iq_streams.node import inventory as inventories
from b3iq_streams.node.beat import compose
from b3iq_streams.node.probe import ANSWER_BYTES_MAX, Observed, Prober
from b3iq_streams.node.sequence import Place
from tests.node.runtimes import KINDS, MODEL, VLLM, Answer, as_json, inventory_text, serving

PATIENCE_S = 20.0
"""Time enough for whoever answers, on a busy machine as well."""
TIMEOUT_S = 0.5
LATE_S = 10.0
"""Far beyond a time-out of `TIMEOUT_S`, and long before the slow answers below are over."""


def probe(tmp_path: Path, text: str, timeout_s: float = PATIENCE_S) -> Observed:
    """The one profile of an inventory, probed."""
    path = tmp_path / "inventory.toml"
    path.write_text(text)
    return asyncio.run(Prober(inventories.load(path), timeout_s).look())["p0"]


@pytest.mark.parametrize(("kind", "name", "context"), [
    ("vllm", None, 65_536), ("sglang", None, 131_072), ("ollama", "qwen3.6", 131_072), ("ollama", "qwen3.6:latest", 131_072),
    ("openai", None, 131_072),
])  # fmt: skip
def test_each_runtime_is_understood(kind: str, name: str | None, context: int, tmp_path: Path) -> None:
    """A model that the runtime serves is installed; a context is never claimed longer than the runtime says."""
    with serving(KINDS[kind]) as served:
        found = probe(tmp_path, inventory_text(served.url, kind, served_as=name))
    assert Observed("installed", True, "healthy", context, "") == found


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_model_that_is_not_served_is_not_installed(kind: str, tmp_path: Path) -> None:
    """The runtime answers, but does not list the model: reachable, and ready to install."""
    with serving(KINDS[kind]) as served:
        found = probe(tmp_path, inventory_text(served.url, kind, served_as="another"))
    assert ("ready_to_install", True) == found[:2]


@pytest.mark.parametrize("claimed", ["vllm", "sglang", "ollama"])
@pytest.mark.parametrize("real", list(KINDS))
def test_a_runtime_of_another_kind_is_not_believed(claimed: str, real: str, tmp_path: Path) -> None:
    """Only the kind that the inventory claims is reachable, so that an Ollama is never sold as a vLLM."""
    with serving(KINDS[real]) as served:
        found = probe(tmp_path, inventory_text(served.url, claimed, served_as="qwen3.6" if real == "ollama" else MODEL))
    assert (claimed == real) is found.runtime_reachable


HOSTILE = {
    "health fails": ("/health", Answer(b"", 503), "answers 503"),
    "wants a token": ("/v1/models", as_json({"error": "Unauthorized"}, 401), "answers 401"),
    "redirects": ("/v1/models", Answer(b"", 307, {"Location": "/health"}), "redirects"),
    "hangs": ("/health", Answer(b"", delay_s=30), "no answer within"),
    "is huge": ("/v1/models", Answer(b" " * (ANSWER_BYTES_MAX + 1)), "more than"),
    "is short of its length": ("/v1/models", Answer(b"{}", headers={"Content-Length": "100"}), "no answer within"),
    "is empty": ("/v1/models", Answer(b""), "does not answer as"),
    "is HTML": ("/v1/models", Answer(b"<html>hello</html>"), "does not answer as"),
    "is no object": ("/v1/models", Answer(b"[]"), "does not answer as"),
    "is of other types": ("/v1/models", as_json({"data": [{"id": 7}]}), "does not answer as"),
    "is deep": ("/v1/models", Answer(b"[" * 100_000), "does not answer as"),
    "is compressed unasked": (
        "/v1/models", Answer(gzip.compress(VLLM["/v1/models"].body), headers={"Content-Encoding": "gzip"}), "does not answer as"
    ),
    "is an endless number": (
        "/v1/models", Answer(b'{"data":[{"id":"m","max_model_len":' + b"9" * 100_000 + b"}]}"), "does not answer as"
    ),
    "has endless metrics": ("/metrics", Answer(b"vllm:num_requests_waiting " + b"9" * 400), "does not answer as"),
    "drips": ("/v1/models", Answer(b" " * 50 + b"{}", drip_s=0.4), "no answer within"),
    "drips its head": ("/v1/models", Answer(b"{}", headers={f"X-{i}": "1" for i in range(50)}, drip_s=0.4), "no answer within"),
    "has an endless head": ("/v1/models", Answer(b"{}", headers={"X-Long": "x" * 200_000}), "/v1/models: "),
    "is a negative context": ("/v1/models", as_json({"data": [{"id": MODEL, "max_model_len": -1}]}), "does not answer as"),
    "has bad metrics": ("/metrics", Answer(b"nothing of interest"), "does not answer as"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(HOSTILE))
def test_whatever_else_it_answers_is_not_reachable(name: str, tmp_path: Path) -> None:
    """Errors, redirects, hangs, huge and malformed answers: not reachable, not installed, and never late."""
    path, answer, why = HOSTILE[name]
    with serving(VLLM | {path: answer}) as served:
        began = time.perf_counter()
        text = inventory_text(served.url, more="queue_blocked_at = 1000")
        found = probe(tmp_path, text, TIMEOUT_S if why == "no answer within" else PATIENCE_S)
        took_s = time.perf_counter() - began
    assert ("runtime_missing", False, "unhealthy") == found[:3]
    assert why in found.why
    assert took_s < LATE_S


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """Not to another path, and not to another server, which never hears of it: the address in the inventory is the only one."""
    with serving(VLLM) as elsewhere, serving(VLLM) as served:
        for status in (301, 302, 303, 307, 308):
            served.answers["/version"] = Answer(b"", status, {"Location": f"{elsewhere.url}/version"})
            assert "redirects" in probe(tmp_path, inventory_text(served.url)).why
        assert [] == elsewhere.requests


def test_proxies_of_the_environment_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a runtime is asked goes to it alone, whatever the environment says."""
    with serving({}) as proxy, serving(VLLM) as served:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert probe(tmp_path, inventory_text(served.url)).status == "installed"
        assert [] == proxy.requests


def test_nothing_listens(tmp_path: Path) -> None:
    """A runtime that is not there is missing."""
    with serving({}) as served:
        url = served.url
    assert "nothing listens" in probe(tmp_path, inventory_text(url)).why


@pytest.mark.parametrize(("kind", "more", "queue"), [
    ("vllm", "queue_degraded_at = 8\nqueue_blocked_at = 9", "healthy"), ("vllm", "queue_degraded_at = 7", "degraded"),
    ("vllm", "queue_blocked_at = 7", "blocked"), ("sglang", "queue_degraded_at = 12\nqueue_blocked_at = 13", "degraded"),
])  # fmt: skip
def test_waiting_requests_decide_the_queue(kind: str, more: str, queue: str, tmp_path: Path) -> None:
    """Summed over engines, and compared with the host's own limits."""
    with serving(KINDS[kind]) as served:
        assert queue == probe(tmp_path, inventory_text(served.url, kind, more=more)).queue_health


def test_the_token_goes_to_the_runtime_only(tmp_path: Path) -> None:
    """A runtime's token is sent to it, its file must be private, and the environment's proxies see nothing."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("s3cret\n")
    with serving(VLLM) as served:
        text = inventory_text(served.url + "/v1/", more=f'token_file = "{token}"')
        assert probe(tmp_path, text).status == "installed"
        assert {"Bearer s3cret"} == {headers["Authorization"] for _, headers in served.requests}
        token.chmod(0o644)
        with pytest.raises(UserError, match="open to others"):
            probe(tmp_path, text)


def test_nothing_local_is_published(tmp_path: Path) -> None:
    """No address, port, path, token, reason or local name of a runtime is in a heartbeat."""
    path = tmp_path / "inventory.toml"
    with serving(VLLM) as served:
        path.write_text(inventory_text(served.url, served_as="local-alias"))
        inventory = inventories.load(path)
        found = asyncio.run(Prober(inventory, PATIENCE_S).look())
    said = canonical(compose(inventory, found, Place(1, 1), "online", 5))
    port = served.url.rpartition(":")[2].encode()
    assert found["p0"].why != ""
    assert [] == [word for word in (b"127.0.0.1", port, b"local-alias", b"/srv", b"http", b"serve") if word in said]
