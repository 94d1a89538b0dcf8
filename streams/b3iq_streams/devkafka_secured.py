"""What makes a local Kafka a secured one: SASL_SSL for clients, mutual TLS for those named by a certificate, access rules.

Brokers talk to each other with SCRAM over TLS, to the controllers with mutual TLS (SCRAM credentials live in the metadata that
controllers still have to agree on). It makes no certificates: they are given. For tests; its passwords are on a command line.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from b3iq_streams.settings import KafkaSettings

BROKER = "kafka"
"""The user that the brokers are, and the common name in their certificate; it may do anything."""
MECHANISM = "SCRAM-SHA-512"
SECURED_JVM_OPTIONS = ("-Xmx256m", "-XX:TieredStopAtLevel=1")
"""There are several of them, often started again: less memory, and no second compiler, which would not pay in so short a life."""

PROPERTIES = """\
listeners=SASL_SSL://{host}:{port},SSL://{host}:{tls_port},CONTROLLER://{host}:{controller_port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:SSL
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms={mechanism}
sasl.mechanism.inter.broker.protocol={mechanism}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login} username="{broker}" password="{password}";
listener.name.ssl.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
ssl.principal.mapping.rules=RULE:^.*CN=([^,]+).*$/$1/,DEFAULT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{broker}
unclean.leader.election.enable=false
broker.heartbeat.interval.ms=250
broker.session.timeout.ms=1500
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
"""
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"


@dataclass(frozen=True)
class Secured:
    """Whom the brokers trust, who they are, and who may log in. `keystore`: PKCS 8 key and certificate chain, in PEM."""

    authority: Path
    keystore: Path
    passwords: Mapping[str, str] = field(repr=False)
    """Of every user, `kafka` included."""

    @property
    def format_arguments(self) -> list[str]:
        """What formatting a node's storage takes, so that users exist before any broker runs."""
        users = (f"{MECHANISM}=[name={name},password={password}]" for name, password in self.passwords.items())
        return [argument for user in users for argument in ("--add-scram", user)]

    def properties(self, host: str, port: int, tls_port: int, controller_port: int) -> str:
        """The lines that a node's settings end with."""
        return PROPERTIES.format(
            host=host,
            port=port,
            tls_port=tls_port,
            controller_port=controller_port,
            mechanism=MECHANISM,
            login=LOGIN,
            broker=BROKER,
            password=self.passwords[BROKER],
            keystore=self.keystore,
            authority=self.authority,
        )

    def settings(self, bootstrap: str, user: str = BROKER) -> KafkaSettings:
        """How a user connects."""
        return KafkaSettings.model_validate(
            {
                "bootstrap": bootstrap,
                "security_protocol": "SASL_SSL",
                "tls_ca": self.authority,
                "sasl_mechanism": MECHANISM,
                "sasl_username": user,
                "sasl_password": self.passwords[user],
            }
        )

    def context(self) -> ssl.SSLContext:
        """How the brokers' own user connects where a certificate is a name."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.keystore)
        return context
