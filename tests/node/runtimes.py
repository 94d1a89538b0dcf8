"""Stand-ins for local runtimes: servers on loopback that answer byte for byte as the real ones do, or as they please."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

MODEL = "Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf"


class Answer(NamedTuple):
    """What one path answers."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    delay_s: float = 0
    drip_s: float = 0
    """Between pieces: headers one by one, then the body byte for byte."""


def as_json(content: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


METRICS = b"""# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf"} 3.0
vllm:num_requests_waiting{engine="1",model_name="Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 90.0
vllm:num_requests_running{engine="0",model_name="Qwen3.6-35B-A3B-UD-Q5_K_XL.gguf"} 50.0
"""
VLLM_MODEL = {
    "id": MODEL, "object": "model", "created": 1763990000, "owned_by": "vllm", "root": "/srv/models/qwen3.6", "parent": None,
    "max_model_len": 65536, "permission": [{"id": "modelperm-1", "object": "model_permission", "allow_sampling": True}],
}  # fmt: skip
VLLM = {
    "/version": as_json({"version": "0.12.0"}),
    "/health": Answer(b""),
    "/v1/models": as_json({"object": "list", "data": [VLLM_MODEL]}),
    "/metrics": Answer(METRICS, headers={"Content-Type": "text/plain; version=0.0.4"}),
}
SGLANG = {
    "/get_model_info": as_json(
        {"model_path": "/srv/models/qwen3.6", "tokenizer_path": "/srv/models/qwen3.6", "is_generation": True,
         "preferred_sampling_params": None, "weight_version": "default"}
    ),
    "/health": Answer(b""),
    "/v1/models": as_json({"object": "list", "data": [
        {"id": MODEL, "object": "model", "created": 1763990000, "owned_by": "sglang", "root": MODEL, "parent": None,
         "max_model_len": 131072}]}),
    "/metrics": Answer(b'sglang:num_queue_reqs{model_name="m",engine_type="unified",tp_rank="0"} 1.2e+01\n'),
}  # fmt: skip
OLLAMA = {
    "/": Answer(b"Ollama is running"),
    "/api/version": as_json({"version": "0.12.11"}),
    "/api/tags": as_json({"models": [
        {"name": "qwen3.6:latest", "model": "qwen3.6:latest", "modified_at": "2026-11-02T10:11:12.131415+01:00",
         "size": 24123456789, "digest": "ab" * 32,
         "details": {"parent_model": "", "format": "gguf", "family": "qwen3moe", "families": ["qwen3moe"],
                     "parameter_size": "35B", "quantization_level": "Q5_K_XL"}}]}),
    "/v1/models": as_json({"object": "list", "data": [
        {"id": "qwen3.6:latest", "object": "model", "created": 1763990000, "owned_by": "library"}]}),
}  # fmt: skip
OPENAI = {
    "/v1/models": as_json({"object": "list", "data": [
        {"id": MODEL, "object": "model", "created": 1763990000, "owned_by": "llamacpp", "meta": {"n_ctx_train": 262144}}]}),
}  # fmt: skip
KINDS = {"vllm": VLLM, "sglang": SGLANG, "ollama": OLLAMA, "openai": OPENAI}


class Served(NamedTuple):
    """A running stand-in: where, what it answers (may be changed), and the headers of the requests it got."""

    url: str
    answers: dict[str, Answer]
    requests: list[tuple[str, dict[str, str]]]


@contextmanager
def serving(answers: Mapping[str, Answer]) -> Iterator[Served]:
    """A server on a free loopback port for the length of a block; a path that is not listed is a 404."""
    served = Served("", dict(answers), [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append((self.path, dict(self.headers)))
            answer = served.answers.get(self.path, Answer(b'{"detail":"Not Found"}', 404))
            time.sleep(answer.delay_s)
            head = {"Content-Length": str(len(answer.body)), **answer.headers}
            lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in head.items()), ""]
            pieces = [*(f"{line}\r\n".encode() for line in lines), *(bytes([byte]) for byte in answer.body if answer.drip_s)]
            try:
                for piece in pieces if answer.drip_s else [b"".join(pieces) + answer.body]:
                    self.wfile.write(piece)
                    time.sleep(answer.drip_s)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served._replace(url=f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def inventory_text(
    url: str, kind: str = "vllm", network: str = "testnet", node_id: str = "node-1", more: str = "", **profile: Any
) -> str:
    """An inventory of one runtime and one profile; `more` goes into the runtime."""
    fields: dict[str, Any] = {
        "profile_id": "p0", "model_id": MODEL, "runtime": "main", "route_tier": "network_beta", "network_eligible": True,
        "benchmark_verified": True, "paid_route_eligible": True, "price_wei_per_mtok": "250000000000000",
        "context_tokens_max": 131072,
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in (fields | profile).items() if value is not None]
    head = f'network = "{network}"\nnode_id = "{node_id}"\n\n[runtimes.main]\nkind = "{kind}"\nurl = "{url}"\n{more}\n'
    return f"{head}\n[[profiles]]\n" + "\n".join(lines) + "\n"
