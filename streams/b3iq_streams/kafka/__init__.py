"""Kafka for the shells: publish with every delivery checked, read partitions from an offset on, administer topics.

Beside the processor's own clients, nothing else imports aiokafka. No consumer groups, no transactions, no parsing; what
the broker says no to becomes a `UserError` of one line.
"""

from b3iq_streams.kafka.administration import Acl, Admin, Layout, Operation, admin
from b3iq_streams.kafka.connection import UNSEEN, BrokerUnavailable, KafkaRefused, NotAdmitted, OffsetGone, Place
from b3iq_streams.kafka.publishing import BATCH_BYTES_MAX, Placed, Publisher, publisher
from b3iq_streams.kafka.reading import Source, source

__all__ = [
    "BATCH_BYTES_MAX",
    "UNSEEN",
    "Acl",
    "Admin",
    "BrokerUnavailable",
    "KafkaRefused",
    "Layout",
    "NotAdmitted",
    "OffsetGone",
    "Operation",
    "Place",
    "Placed",
    "Publisher",
    "Source",
    "admin",
    "publisher",
    "source",
]
