"""Who may do what on the cluster: one principal per role, generated from the table of topics. Least privilege, no DENY rules.

Write access lets a principal append, not be believed: what counts is the signature inside. These rules keep a stolen password
from reading what its role need not know, and from filling other roles' topics.

Reading and writing imply describing (Kafka's own rule). An idempotent producer needs no more than to write its topic. The
processor alone has a consumer group, and looks at every topic's settings before it starts. Nobody may delete a topic.
"""

import shlex
from collections.abc import Iterable, Mapping

from b3iq_schemas.topics import PRINCIPALS, TOPICS, Principal
from b3iq_streams.errors import UserError
from b3iq_streams.kafka import Acl, Admin, Operation
from b3iq_streams.processor.names import GROUP

CLUSTER = "kafka-cluster"
_USER = "User:"
Names = Mapping[Principal, str]


def names(overrides: Iterable[str] = ()) -> dict[Principal, str]:
    """The Kafka principal of each role, `User:ROLE` unless `ROLE=NAME` says otherwise; raises UserError for what is no such
    thing, or when two roles would share a principal."""
    found: dict[Principal, str] = {role: f"{_USER}{role}" for role in PRINCIPALS}
    for override in overrides:
        role, equals, name = override.partition("=")
        wanted = next((known for known in PRINCIPALS if known == role), None)
        if wanted is None:
            raise UserError(f"--principal {override}: the role is one of {', '.join(PRINCIPALS)}")
        bare = name.removeprefix(_USER)
        if not equals or not bare or bare == "*" or not bare.isprintable():
            raise UserError(f"--principal {override}: expected ROLE=NAME, the name of one user")
        found[wanted] = f"{_USER}{bare}"
    for principal in found.values():
        if len(sharing := [role for role, other in found.items() if other == principal]) > 1:
            raise UserError(f"{principal} would be {' and '.join(sharing)}: each role has a principal of its own")
    return found


def wanted(principals: Names) -> list[Acl]:
    """Every rule, in the order of the table."""
    found: list[Acl] = []
    for topic in TOPICS.values():
        operations: dict[Principal, list[Operation]] = {topic.writer: ["Write"]}
        for reader in topic.readers:
            operations.setdefault(reader, []).append("Read")
        operations.setdefault("processor", ["Describe"]).append("DescribeConfigs")
        operations["admin"] = ["Create", "Describe", "AlterConfigs"]
        for role, allowed in operations.items():
            found += [Acl(principals[role], "topic", topic.name, operation) for operation in allowed]
    return [*found, Acl(principals["processor"], "group", GROUP, "Read"), Acl(principals["admin"], "cluster", CLUSTER, "Alter")]


async def apply(admin: Admin, principals: Names) -> list[str]:
    """Create the rules that are missing; returns what was done, and which rules give these principals more than the table.

    Never removes a rule: whoever made it may need it.
    """
    want, have = wanted(principals), await admin.acls()
    missing = [acl for acl in want if acl not in have]
    for acl in missing:
        await admin.create_acl(acl)
    done = [f"allowed {acl}" for acl in missing]
    extra = sorted(acl for acl in have if acl not in want and acl.principal in {*principals.values(), f"{_USER}*"})
    return done + [f"not in the table, and left as it is: {acl}" for acl in extra]


def script(acls: Iterable[Acl]) -> str:
    """Lines for Kafka's own tool; they take the address and the administrator's settings from two variables."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for acl in acls:
        grouped.setdefault((acl.principal, acl.resource, acl.name), []).append(acl.operation)
    lines = []
    for (principal, resource, name), operations in grouped.items():
        target = "--cluster" if resource == "cluster" else f"--{resource} {shlex.quote(name)}"
        allowed = " ".join(f"--operation {operation}" for operation in operations)
        lines.append(f"{_TOOL} --add --allow-principal {shlex.quote(principal)} {allowed} {target}\n")
    return "".join(lines)


_TOOL = 'kafka-acls.sh --bootstrap-server "$B3IQ_BOOTSTRAP" --command-config "$ADMIN_PROPERTIES"'
