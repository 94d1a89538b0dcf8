"""What remains of a demo, if it is wanted: its log as an archive, and whom to trust about it."""

import asyncio
from pathlib import Path

from b3iq_streams.cli_options import make_directory
from b3iq_streams.demo.parts import Parts
from b3iq_streams.errors import UserError

ARCHIVE, TRUST = "archive", "trust.json"


def prepare(directory: Path) -> None:
    """Make the directory, before anything runs; raises UserError when it is of no use."""
    make_directory(directory, "--keep")
    if any(directory.iterdir()):
        raise UserError(f"--keep {directory}: is not empty")


async def keep_log(parts: Parts, directory: Path) -> None:
    """Write everything that is on the broker now."""
    from b3iq_streams.audit.archive.exporting import export  # only who keeps something waits for what writes it
    from b3iq_streams.audit.live import survey

    parts.say("writing the log to an archive")
    trust = parts.world.trust
    (directory / TRUST).write_text(trust.model_dump_json())
    origin = await asyncio.to_thread(survey, parts.on.kafka, parts.on.stamped)
    done = await asyncio.to_thread(export, origin, trust, directory / ARCHIVE, None, 1)
    parts.say(f"{done.new_records:,} records are in {directory / ARCHIVE}")
