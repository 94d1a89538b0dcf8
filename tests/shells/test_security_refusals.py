"""Brokers that cannot be believed: a TLS port with the wrong certificate is one line and exit code 2, for either client library.

The port speaks TLS and nothing else, so no Kafka is needed; what brokers refuse is held in `tests/kafka`.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.errors import ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError

from b3iq_streams import cli
from b3iq_streams.kafka import KafkaRefused
from b3iq_streams.kafka.connection import connect, translated
from b3iq_streams.settings import KafkaSettings
from b3iq_streams.world import World
from tests.kafka.secured import Certificates, Pem

HOST = "127.0.0.1"
COMMANDS = [("topics", "check"), ("audit", "verify", "--trust", "trust.json")]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with a trust file, and a client that insists on TLS by one authority."""
    monkeypatch.chdir(tmp_path)
    Path("trust.json").write_text(World.generate().trust.model_dump_json())
    for name, value in {"SECURITY_PROTOCOL": "SSL", "TLS_CA": "ca.pem"}.items():
        monkeypatch.setenv(f"B3IQ_{name}", value)


@contextlib.contextmanager
def port(pem: Pem, host: str = HOST) -> Iterator[int]:
    """A port that shows this certificate and then says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.cert, pem.key)
    listening = socket.create_server((host, 0))

    def greet(plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
            while connection.recv(4_096):
                pass

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listening.accept()
                threading.Thread(target=greet, args=(plain,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def refused(command: tuple[str, ...], address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command says."""
    monkeypatch.setenv("B3IQ_BOOTSTRAP", address)
    monkeypatch.setenv("B3IQ_WAIT_S", "1" if command[0] == "audit" else "10")  # librdkafka keeps it to itself for so long
    assert 2 == cli.run(command)
    error = capsys.readouterr().err
    assert 1 == error.count("\n")
    assert f"b3iq-streams: Kafka at {address} has a certificate that is not accepted: " in error
    return error


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broker_whose_certificate_has_expired(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and so is what is wrong."""
    with port(Certificates(Path()).issue("broker", days=-1)) as number:
        assert "certificate has expired" in refused(command, f"{HOST}:{number}", monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broker_of_another_authority(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing vouches for it but itself."""
    Certificates(Path())
    pem = Certificates(Path(), "other").issue("broker")
    with port(pem) as number:
        assert "unable to get local issuer certificate" in refused(command, f"{HOST}:{number}", monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broker_under_another_name(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate for 127.0.0.1 does not do for 127.0.0.2: the name is always compared."""
    with port(Certificates(Path()).issue("broker"), "127.0.0.2") as number:
        assert "not valid for '127.0.0.2'" in refused(command, f"127.0.0.2:{number}", monkeypatch, capsys)


class NotAllowed:
    """A client that gets in and may do nothing, as an idempotent producer without a topic to write."""

    def __init__(self) -> None:
        self.tries = 0

    async def start(self) -> None:
        """What aiokafka raises then."""
        self.tries += 1
        raise ClusterAuthorizationFailedError


async def test_who_may_do_nothing_is_told_at_once() -> None:
    """It is certain, so it is not tried again until the time is up."""
    client = NotAllowed()
    with pytest.raises(KafkaRefused, match="access rules"):
        await connect(client, KafkaSettings(bootstrap="127.0.0.1:9", security_protocol="PLAINTEXT", tls_ca=None, wait_s=60))
    assert 1 == client.tries


@pytest.mark.parametrize("error", [ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError])
def test_what_access_rules_forbid_is_told_as_that(error: type[Exception]) -> None:
    """With what was being done, and where the rules are to be seen."""
    with pytest.raises(KafkaRefused, match=r"^reading: Kafka's access rules .*topics acls"), translated("reading"):
        raise error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "security_protocol is SSL, and the embedded broker has none"),
     (("--kafka-config", "kafka.conf"), "--kafka-config says nothing without --bootstrap")],
)  # fmt: skip
def test_the_embedded_broker_knows_no_users(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A demo that would not be secured although the environment asks for it does not begin."""
    Certificates(Path())
    assert 2 == cli.run(("demo", "--seconds", "5", *arguments))
    error = capsys.readouterr().err
    assert said in error
    assert 1 == error.count("\n")
