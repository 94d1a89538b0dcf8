"""How clients are told to be known by Kafka: what fits together connects, what does not is one line before anything connects."""

import logging
import shutil
import sys
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr, ValidationError

from b3iq_schemas.topics import TOPICS
from b3iq_streams import cli, kafka
from b3iq_streams.errors import UserError
from b3iq_streams.processor.app import _credentials
from b3iq_streams.processor.settings import ProcessorSettings
from b3iq_streams.settings import KafkaSettings, load
from b3iq_streams.world import World
from tests.kafka.secured import Certificates

SECRET = "hunter2-hunter2"
NOWHERE = "127.0.0.1:9"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority's certificates: good ones, one with a locked key, one that has expired."""
    made = tmp_path_factory.mktemp("certificates")
    certificates = Certificates(made)
    for name in ("node", "other"):
        certificates.issue(name)
    certificates.issue("expired", days=-1)
    certificates.issue("locked", password=b"another")
    certificates.issue("mine", password=b"key-password")
    return made


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Only an address that nobody listens at, and files that hold no certificates."""
    monkeypatch.setenv("B3IQ_BOOTSTRAP", NOWHERE)
    monkeypatch.setenv("B3IQ_WAIT_S", "0.2")
    monkeypatch.chdir(directory)
    Path("password").write_text(SECRET + "\n")
    Path("empty").touch()
    Path("lines").write_text("one\ntwo\n")
    Path("binary").write_bytes(b"\xff\xfe")
    for private in ("password", "empty", "lines", "binary"):
        Path(private).chmod(0o440)  # as a secret is mounted
    Path("open").write_text(SECRET)
    Path("open").chmod(0o444)
    shutil.copy("node.key", "open.key")
    Path("open.key").chmod(0o644)
    Path("open.conf").write_text(f"security_protocol = SASL_PLAINTEXT\nsasl_username = node\nsasl_password = {SECRET}\n")
    Path("open.conf").chmod(0o644)
    Path("long").write_text("#" * 70_000)


SASL = {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_USERNAME": "node", "SASL_PASSWORD": SECRET}
TLS = {"SECURITY_PROTOCOL": "SSL", "TLS_CA": "ca.pem"}
MTLS = TLS | {"TLS_CERT": "node.pem", "TLS_KEY": "node.key"}
WRONG: tuple[tuple[dict[str, str], str], ...] = (
    ({"SECURITY_PROTOCOL": "TLS"}, "B3IQ_SECURITY_PROTOCOL is wrong"),
    ({"SECURITY_PROTOCOL": ""}, "B3IQ_SECURITY_PROTOCOL is wrong"),
    (SASL | {"SASL_MECHANISM": "GSSAPI"}, "B3IQ_SASL_MECHANISM is wrong"),
    ({"SECURITY_PROTOCOL": "SASL_SSL"}, "sasl_username is missing"),
    (SASL | {"SASL_USERNAME": ""}, "sasl_username is missing"),
    ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_USERNAME": "node"}, "there is no password"),
    ({"SASL_PASSWORD": SECRET}, "sasl_password is given, but security_protocol is PLAINTEXT"),
    ({"SECURITY_PROTOCOL": "SSL", "SASL_USERNAME": "node"}, "sasl_username is given, but security_protocol is SSL"),
    (SASL | {"TLS_CA": "ca.pem"}, "tls_ca is given, but security_protocol is SASL_PLAINTEXT"),
    (SASL | {"SASL_PASSWORD_FILE": "password"}, "sasl_password and sasl_password_file exclude each other"),
    (SASL | {"SASL_PASSWORD": ""}, "sasl_password is empty"),
    ({n: v for n, v in SASL.items() if n != "SASL_PASSWORD"} | {"SASL_PASSWORD_FILE": "none"}, "No such file"),
    ({n: v for n, v in SASL.items() if n != "SASL_PASSWORD"} | {"SASL_PASSWORD_FILE": "empty"}, "empty is empty"),
    ({n: v for n, v in SASL.items() if n != "SASL_PASSWORD"} | {"SASL_PASSWORD_FILE": "lines"}, "should be one line"),
    ({n: v for n, v in SASL.items() if n != "SASL_PASSWORD"} | {"SASL_PASSWORD_FILE": "binary"}, "should be UTF-8"),
    (TLS | {"TLS_CA": "none.pem"}, "tls_ca none.pem: No such file"),
    (TLS | {"TLS_CA": "."}, "tls_ca .: Is a directory"),
    (TLS | {"TLS_CA": "lines"}, "tls_ca lines is not a certificate in PEM form"),
    (TLS | {"TLS_CA": "expired.pem"}, "tls_ca expired.pem expired at"),
    (MTLS | {"TLS_CERT": "expired.pem", "TLS_KEY": "expired.key"}, "tls_cert expired.pem expired at"),
    (TLS | {"TLS_CERT": "node.pem"}, "tls_cert is given without tls_key"),
    (TLS | {"TLS_KEY": "node.key"}, "tls_key is given without tls_cert"),
    (TLS | {"TLS_KEY_PASSWORD": SECRET}, "tls_key_password is given without tls_key"),
    (MTLS | {"TLS_KEY": "other.key"}, "other.key is not the key of the certificate node.pem"),
    (MTLS | {"TLS_KEY": "lines"}, "lines is not a private key"),
    (MTLS | {"TLS_CERT": "locked.pem", "TLS_KEY": "locked.key"}, "is encrypted, and there is no tls_key_password"),
    (MTLS | {"TLS_CERT": "locked.pem", "TLS_KEY": "locked.key", "TLS_KEY_PASSWORD": SECRET}, "the password is wrong"),
    ({n: v for n, v in SASL.items() if n != "SASL_PASSWORD"} | {"SASL_PASSWORD_FILE": "open"}, "open to everybody"),
    ({n: v for n, v in SASL.items() if n != "SASL_PASSWORD"} | {"SASL_PASSWORD_FILE": "/dev/zero"}, "open to everybody"),
    (MTLS | {"TLS_KEY": "open.key"}, "tls_key open.key is open to everybody on this machine (mode 0644)"),
    (TLS | {"TLS_CA": "/dev/zero"}, "tls_ca /dev/zero is larger than any such file"),
    ({"KAFKA_CONFIG": "open.conf"}, "line 3: a password, in a file that is open to everybody (mode 0644)"),
    ({"KAFKA_CONFIG": "long"}, "it is larger than 64 KiB"),
    ({"KAFKA_CONFIG": "/dev/zero"}, "it is larger than 64 KiB"),
    ({"KAFKA_CONFIG": "none"}, "--kafka-config none: No such file"),
    ({"KAFKA_CONFIG": "binary"}, "it is not text"),
    ({"KAFKA_CONFIG": "lines"}, "line 1: expected name = value"),
)


@pytest.mark.parametrize(("given", "said"), WRONG)
@pytest.mark.parametrize("command", [("topics", "check"), ("audit", "verify", "--trust", "trust.json")])
def test_what_is_wrong_is_one_line(
    command: tuple[str, ...],
    given: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one line that names the setting, and no secret in it; nothing tries to connect."""
    Path("trust.json").write_text(World.generate().trust.model_dump_json())
    for name, value in given.items():
        monkeypatch.setenv(f"B3IQ_{name}", value)
    assert 2 == cli.run(command)
    error = capsys.readouterr().err
    assert said in error
    assert 1 == error.count("\n")
    assert SECRET not in error


def test_a_wrong_setting_is_wrong_without_librdkafka(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What this installation lacks is told only when the settings are right."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.delitem(sys.modules, "b3iq_streams.audit.live", raising=False)
    Path("trust.json").write_text(World.generate().trust.model_dump_json())
    monkeypatch.setenv("B3IQ_SECURITY_PROTOCOL", "TLS")
    assert 2 == cli.run(("audit", "verify", "--trust", "trust.json"))
    assert "B3IQ_SECURITY_PROTOCOL is wrong" in capsys.readouterr().err
    monkeypatch.delenv("B3IQ_SECURITY_PROTOCOL")
    assert 2 == cli.run(("audit", "verify", "--trust", "trust.json"))
    assert "this needs the package confluent_kafka" in capsys.readouterr().err


def test_every_client_is_told_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka, Faust and librdkafka get the protocol, the user, the password of the file, the certificate."""
    told = {"SECURITY_PROTOCOL": "SASL_SSL", "TLS_CA": "ca.pem", "TLS_CERT": "mine.pem", "TLS_KEY": "mine.key",
            "TLS_KEY_PASSWORD": "key-password", "SASL_USERNAME": "node", "SASL_PASSWORD_FILE": "password"}  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(f"B3IQ_{name}", value)
    settings = load(KafkaSettings)
    client = settings.client
    context = client.pop("ssl_context")
    assert (True, "CERT_REQUIRED") == (context.check_hostname, context.verify_mode.name)
    assert {"bootstrap_servers": NOWHERE, "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "node", "sasl_plain_password": SECRET} == client  # fmt: skip
    faust = _credentials(settings.aiokafka_security)
    assert faust is not None
    assert ("SASL_SSL", "node", SECRET) == (faust.protocol.value, getattr(faust, "username"), getattr(faust, "password"))  # noqa: B009  of one kind of credentials
    assert {"bootstrap.servers": NOWHERE, "security.protocol": "SASL_SSL", "ssl.endpoint.identification.algorithm": "https",
            "ssl.ca.location": "ca.pem", "ssl.certificate.location": "mine.pem", "ssl.key.location": "mine.key",
            "ssl.key.password": "key-password", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "node",
            "sasl.password": SECRET} == settings.librdkafka  # fmt: skip


def test_a_secret_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither settings nor what a worker is told spell it, however they are printed or logged."""
    settings = KafkaSettings.model_validate(
        {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "node", "sasl_password": SecretStr(SECRET)}
    )
    worker = ProcessorSettings(NOWHERE, security=settings.aiokafka_security)
    assert SECRET in worker.security.values()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r %s %s", settings, worker, settings.model_dump_json(), settings.model_dump())
        with pytest.raises(ValidationError) as raised:
            KafkaSettings.model_validate({"sasl_password": [SECRET], "delivery_s": -1})
        logging.getLogger("test").error("wrong: %s", raised.value, exc_info=raised.value)
    assert SECRET not in caplog.text


def test_flags_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file takes both spellings; its relatives are looked at in that order."""
    Path("kafka.conf").write_text(
        "# who we are\nsecurity_protocol = SASL_PLAINTEXT\nsasl_username = 'node'\n"
        f'export B3IQ_SASL_PASSWORD="{SECRET}"\nB3IQ_BOOTSTRAP=file:1\nwait_s = 7\n'
    )
    Path("kafka.conf").chmod(0o640)
    monkeypatch.setenv("B3IQ_KAFKA_CONFIG", "kafka.conf")
    settings = load(KafkaSettings, wait_s=3.0)
    assert (NOWHERE, 3.0, "node") == (settings.bootstrap, settings.wait_s, settings.sasl_username)
    monkeypatch.delenv("B3IQ_BOOTSTRAP")
    assert "file:1" == load(KafkaSettings, kafka_config=Path("kafka.conf")).bootstrap


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sasl_user = node\n", "line 1: there is no setting 'sasl_user'"),
        ("wait_s = 1\nB3IQ_WAIT_S = 2\n", "line 2: wait_s is given twice"),
        ("wait_s\n", "line 1: expected name = value"),
        ("kafka_config = other\n", "there is no setting 'kafka_config'"),
    ],
)
def test_a_file_that_is_wrong_is_named(text: str, said: str) -> None:
    """With its line, and without what stands in it."""
    Path("kafka.conf").write_text(text)
    with pytest.raises(UserError, match=r"kafka\.conf") as raised:
        load(KafkaSettings, kafka_config=Path("kafka.conf"))
    assert said in str(raised.value)


def test_the_rules_for_the_standard_tool(capsys: pytest.CaptureFixture[str]) -> None:
    """Text and JSON say the same rules; another name for a role appears, quoted for a shell."""
    assert 0 == cli.run(("topics", "acls", "--format", "json", "--principal", "node=CN=a node"))
    rules = [kafka.Acl(**item) for item in orjson.loads(capsys.readouterr().out)]
    assert 0 == cli.run(("topics", "acls", "--principal", "node=CN=a node"))
    text = capsys.readouterr().out
    assert len(rules) == text.count("--operation ")
    assert "--allow-principal 'User:CN=a node' --operation Write --operation Read --topic heartbeats\n" in text
    assert ["Read", "Read", "Write", "Read", "Read"] == [rule.operation for rule in rules if rule.principal == "User:CN=a node"]
    assert {*TOPICS, "b3iq-processor", "kafka-cluster"} == {rule.name for rule in rules}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("acls --principal king=x", "the role is one of node"),
        ("acls --principal node", "expected ROLE=NAME"),
        ("acls --principal node=User:*", "expected ROLE=NAME"),
        ("acls --principal node=router", "each role has a principal of its own"),
        ("acls --principal node=a --principal node=b", "node is named twice"),
        ("acls --format yaml", "'yaml' is not one of"),
        ("apply --principal node=x", "--principal says nothing without --acls"),
    ],
)
def test_names_that_are_none(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit code 2."""
    assert 2 == cli.run(("topics", *arguments.split()))
    error = capsys.readouterr().err
    assert said in error
    assert 1 == error.count("\n")
