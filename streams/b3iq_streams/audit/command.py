"""`audit`: the table of its commands, each imported only when it is called."""

from b3iq_streams.cli import Entry, LazyGroup

COMMANDS: dict[str, Entry] = {
    "check-bundle": Entry("b3iq_streams.audit.cli_prove:check_bundle", "Check a bundle of `prove`, without Kafka."),
    "decisions": Entry("b3iq_streams.audit.cli_decisions:decisions", "Was each past routing decision right?"),
    "explain": Entry("b3iq_streams.audit.cli_explain:explain", "Why a node was eligible at a time, or was not."),
    "export": Entry("b3iq_streams.audit.cli_export:export", "Write the topics to an archive of Parquet files."),
    "prove": Entry("b3iq_streams.audit.cli_prove:prove", "Bundle what is on record about a node, for its host."),
    "query": Entry("b3iq_streams.audit.cli_query:query", "Run one of the SQL examples on an archive."),
    "timeline": Entry("b3iq_streams.audit.cli_timeline:timeline", "A node's history, as text, JSON or a picture."),
    "verify": Entry("b3iq_streams.audit.cli_verify:command", "Fold every epoch again and compare, byte for byte."),
    "whatif": Entry("b3iq_streams.audit.cli_whatif:whatif", "What another policy would have changed."),
}
"""Every command; adding one is adding a line here."""

command = LazyGroup(COMMANDS, name="audit", help="Replay any past decision, explain it, and ask what if.", no_args_is_help=False)
