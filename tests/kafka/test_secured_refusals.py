"""Every command that connects, with everything that can be wrong about how: one clear line, exit code 2, and no secret in it.

They may wait far longer than they are given here: what is certain has to be told at once, not when the wait is over.
"""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from nacl.signing import SigningKey

from b3iq_streams import keys
from b3iq_streams.devkafka import HOST
from b3iq_streams.world import TRUST_FILE, World
from tests.kafka.network import ROOT
from tests.kafka.secured import Certificates, Cluster
from tests.node.runtimes import inventory_text

WAIT_S, WITHIN_S = 300, 60
SECRET = "hunter2-of-nobody"
COMMANDS = (
    "topics check", "processor --key w/processor.json", "router watch", "audit verify", "fleet --keys w",
    "catalog serve --port 0", "policy show", "node run --inventory inventory.toml --key node.json --state state",
)  # fmt: skip


class Wrong(NamedTuple):
    """What is changed about settings that are right (None: left out), and what is said about it."""

    changes: dict[str, str | None]
    says: str
    commands: tuple[str, ...] = COMMANDS


TLS: dict[str, str | None] = {"BOOTSTRAP": "{tls}", "SECURITY_PROTOCOL": "SSL", "SASL_USERNAME": None, "SASL_PASSWORD": None}
PLAIN: dict[str, str | None] = {"SECURITY_PROTOCOL": "PLAINTEXT", "TLS_CA": None, "SASL_USERNAME": None, "SASL_PASSWORD": None}
ONE = COMMANDS[:1]
WRONGS = {
    "wrong password": Wrong({"SASL_PASSWORD": SECRET}, "refuses user router: wrong name or password"),
    "unknown authority": Wrong({"TLS_CA": "other.pem"}, "has a certificate that is not accepted: "),
    "plain text": Wrong(PLAIN, "speaks TLS, but security_protocol is PLAINTEXT"),
    "expired": Wrong(TLS | {"TLS_CERT": "stale.pem", "TLS_KEY": "stale.key"}, "tls_cert stale.pem expired at "),
    "expired broker": Wrong({"BOOTSTRAP": "{expired}"}, "has a certificate that is not accepted: certificate has expired"),
    "unknown user": Wrong({"SASL_USERNAME": "mallory"}, "refuses user mallory: wrong name or password", ONE),
    "other mechanism": Wrong({"SASL_MECHANISM": "PLAIN"}, "does not offer the SASL mechanism PLAIN", ONE),
    "password in plain text": Wrong({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "TLS_CA": None}, "speaks TLS, but", ONE),
    "no user": Wrong(TLS | {"BOOTSTRAP": "{sasl}"}, "asks for a user and a password, but security_protocol is SSL", ONE),
    "no certificate": Wrong(TLS, "asks for a client certificate, and there is none", ONE),
    "a stranger's": Wrong(TLS | {"TLS_CERT": "own.pem", "TLS_KEY": "own.key"}, "refuses the client certificate own.pem: ", ONE),
    "another's key": Wrong(TLS | {"TLS_CERT": "own.pem", "TLS_KEY": "stale.key"}, "is not the key of the certificate", ONE),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands run: keys and a trust file, an inventory, and certificates of an authority that the brokers do not know."""
    made = tmp_path_factory.mktemp("refusals")
    world = World.generate("net-refused")
    world.save(made / "w")
    keys.save(SigningKey.generate(), made / "node.json")
    (made / "inventory.toml").write_text(inventory_text(f"http://{HOST}:9", network=world.network))
    other = Certificates(made, "other")
    other.issue("own")
    other.issue("stale", days=-1)
    return made


@pytest.fixture
async def expired(secured: Cluster) -> AsyncIterator[str]:
    """The address of a listener that stands in for a broker whose certificate has expired: brokers that trust each other by
    certificate do not come up with such a one."""
    pem = secured.certificates.issue("expired-broker", days=-1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.cert, pem.key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=context)
    async with server:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("name", WRONGS)
async def test_what_is_wrong_is_one_line(secured: Cluster, directory: Path, expired: str, name: str) -> None:
    """Every command says the same thing about the same mistake, at once, ends with 2, and names no secret."""
    wrong = WRONGS[name]
    places = {"sasl": secured.kafka.bootstrap, "tls": secured.kafka.tls_bootstrap, "expired": expired}
    changes = {f"B3IQ_{key}": value and value.format(**places) for key, value in wrong.changes.items()}
    told = secured.environment("router") | {"B3IQ_TRUST": f"w/{TRUST_FILE}", "B3IQ_WAIT_S": str(WAIT_S), "PYTHONPATH": str(ROOT)}
    environment = {key: value for key, value in (told | changes).items() if value is not None}
    results = await asyncio.gather(*(run(command, directory, environment) for command in wrong.commands))
    secrets = [SECRET, *secured.secured.passwords.values(), "PRIVATE KEY"]
    for command, (code, out, err) in zip(wrong.commands, results, strict=True):
        said = f"{command}: {code}\n{out}{err}"
        assert (2, "", 1) == (code, out, len(err.splitlines())), said
        assert wrong.says in err, said
        assert not any(secret in err for secret in secrets), said


async def run(command: str, directory: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a command to its end: its exit code, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "b3iq_streams.cli", *command.split(), cwd=directory, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{command}: still running after {WITHIN_S} s") from None
    return int(process.returncode or 0), out.decode(), err.decode()
