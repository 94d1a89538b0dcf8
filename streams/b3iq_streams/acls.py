"""Who may do what on the cluster: one principal per role, generated from the table of topics. Least privilege, no DENY rules.

Write access lets a principal append, not be believed: what counts is the signature inside. These rules keep a stolen password
from reading what its role need not know, and from filling other roles' topics.

Reading and writing imply describing (Kafka's own rule). An idempotent producer needs no more than to write its topic. The
processor alone has a consumer group, and looks at every topic's settings before it starts. Nobody may delete a topic: that
takes rules which the administrator is given for the time of a new generation, and which no rule here contains.
"""

import shlex
from collections.abc import Iterable, Mapping

from b3iq_schemas.topics import ELIGIBILITY_CHANGES, PRINCIPALS, TOPICS, Principal
from b3iq_streams.errors import UserError
from b3iq_streams.generation import KEPT
from b3iq_streams.kafka import Acl, Admin, Operation
from b3iq_streams.processor.names import GROUP

CLUSTER = "kafka-cluster"
_USER = "User:"
Names = Mapping[Principal, str]


def names(overrides: Iterable[str] = ()) -> dict[Principal, str]:
    """The Kafka principal of each role, `User:ROLE` unless `ROLE=NAME` says otherwise; raises UserError for what is no such
    thing, or when two roles would share a principal."""
    found: dict[Principal, str] = {role: f"{_USER}{role}" for role in PRINCIPALS}
    given: set[Principal] = set()
    for override in overrides:
        role, equals, name = override.partition("=")
        wanted = next((known for known in PRINCIPALS if known == role), None)
        if wanted is None:
            raise UserError(f"--principal {override}: the role is one of {', '.join(PRINCIPALS)}")
        bare = name.removeprefix(_USER)
        if not equals or not bare or bare == "*" or not bare.isprintable():
            raise UserError(f"--principal {override}: expected ROLE=NAME, the name of one user")
        if wanted in given:
            raise UserError(f"--principal {override}: {wanted} is named twice")
        given.add(wanted)
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


def to_regenerate(principals: Names) -> list[Acl]:
    """What the administrator needs beside `wanted` while `topics regenerate` runs, and at no other time: to see that no
    processor is left, to read and say again what is kept, to add partitions to it, and to delete the rest."""
    needs: dict[str, list[Operation]] = {name: ["Read", "Write", "Alter"] if name in KEPT else ["Delete"] for name in TOPICS}
    needs[ELIGIBILITY_CHANGES].append("Read")
    admin = principals["admin"]
    found = [Acl(admin, "topic", name, operation) for name in TOPICS for operation in needs[name]]
    return [*found, Acl(admin, "group", GROUP, "Describe")]


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


def table(principals: Names) -> str:
    """The rules in Markdown, a row for each principal: what it writes, what it reads, what else it may do."""
    lines = ["| principal | writes | reads | besides |", "| --- | --- | --- | --- |"]
    rules = wanted(principals)
    for principal in principals.values():
        of: dict[str, list[str]] = {}
        for acl in rules:
            if acl.principal == principal:
                of.setdefault(acl.operation, []).append(
                    f"`{acl.name}`" if acl.resource == "topic" else f"{acl.resource} `{acl.name}`"
                )
        cells = [_names(of.pop("Write", [])), _names([name for name in of.get("Read", []) if name.startswith("`")])]
        of["Read"] = [name for name in of.get("Read", []) if not name.startswith("`")]
        besides = "; ".join(f"{operation} on {_names(names)}" for operation, names in of.items() if names)
        lines.append(f"| {principal.removeprefix(_USER)} | {' | '.join(cells)} | {besides or '–'} |")
    return "\n".join(lines) + "\n"


def _names(found: list[str]) -> str:
    return "every topic" if len(found) == len(TOPICS) else ", ".join(found) or "–"


def script(acls: Iterable[Acl], remove: bool = False) -> str:
    """Lines for Kafka's own tool; they take the address and the administrator's settings from two variables."""
    doing = "--remove --force" if remove else "--add"
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for acl in acls:
        grouped.setdefault((acl.principal, acl.resource, acl.name), []).append(acl.operation)
    lines = []
    for (principal, resource, name), operations in grouped.items():
        target = "--cluster" if resource == "cluster" else f"--{resource} {shlex.quote(name)}"
        allowed = " ".join(f"--operation {operation}" for operation in operations)
        lines.append(f"{_TOOL} {doing} --allow-principal {shlex.quote(principal)} {allowed} {target}\n")
    return "".join(lines)


_TOOL = 'kafka-acls.sh --bootstrap-server "$B3IQ_BOOTSTRAP" --command-config "$ADMIN_PROPERTIES"'
