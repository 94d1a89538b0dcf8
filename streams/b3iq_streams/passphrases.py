"""Where a passphrase comes from: a file, the environment, else a person at a terminal. Never an argument, never kept."""

import os
import sys
from pathlib import Path

import click

from b3iq_streams.errors import UserError
from b3iq_streams.private_files import read_private

FILE_VARIABLE = "B3IQ_KEY_PASSPHRASE_FILE"
VARIABLE = "B3IQ_KEY_PASSPHRASE"
BYTES_MIN, BYTES_MAX = 12, 1024


def ask(path: Path, new: bool = False, prompt: bool = True) -> bytes:
    """The passphrase of the key file at `path`; a new one must be long enough, and is typed twice.

    Without `prompt` nobody is asked, for callers that cannot wait. Raises UserError if there is none, or it is too long.
    """
    if name := os.environ.get(FILE_VARIABLE):
        given = read_private(Path(name), "passphrase file", BYTES_MAX + 2).rstrip(b"\r\n")
    elif (text := os.environ.get(VARIABLE)) is not None:
        given = text.encode()
    elif prompt and sys.stdin.isatty():
        given = click.prompt(f"Passphrase of {path}", hide_input=True, confirmation_prompt=new, err=True).encode()
    else:
        raise UserError(f"key file {path} needs a passphrase: set {FILE_VARIABLE} or {VARIABLE}, or run this at a terminal")
    if len(given) > BYTES_MAX or (new and len(given) < BYTES_MIN):
        raise UserError(f"a passphrase has {BYTES_MIN} to {BYTES_MAX} bytes")
    return given
