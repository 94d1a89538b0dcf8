"""A node's second key: made beside the first, proven, and put in its place once the control plane lists it.

Three files: FILE signs, FILE.next waits, FILE.old signed before. At no instant is there no key at FILE, and none is ever
deleted here: the old one must be able to sign until every reader has folded a registration that lists the new one.
"""

import os
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from b3iq_streams import keys, passphrases
from b3iq_streams.errors import UserError
from b3iq_streams.private_files import sync_directory


def beside(path: Path, what: str) -> Path:
    """`key.json` → `key.json.next` and the like."""
    return path.with_name(f"{path.name}.{what}")


def prepare(path: Path, network: str, node_id: str) -> list[dict[str, Any]]:
    """Make the next key unless there is one, sealed as the current is; both entries for the next registration."""
    _no_old_one(path)
    current, passphrase = _open(path)
    waiting = beside(path, "next")
    if waiting.exists():
        fresh = keys.load(waiting, passphrase)
    else:
        fresh = SigningKey.generate()
        keys.save(fresh, waiting, passphrase)
    return [keys.possession(key, network, node_id) for key in (current, fresh)]


def finish(path: Path, listed: dict[str, bytes]) -> str:
    """Put the next key in place of the current one, if it is among those `listed` (by id); its public key, in hex."""
    waiting, before = beside(path, "next"), beside(path, "old")
    if not waiting.exists():
        raise UserError(f"there is no {waiting}: begin with `node rotate`, without --finish")
    fresh = keys.load(waiting)  # opened, so that a damaged key never takes the place of a good one
    if bytes(fresh.verify_key) not in listed.values():
        raise UserError(f"no registration lists the key in {waiting} yet: the control plane has to publish one that does")
    _no_old_one(path)
    try:
        if not before.exists():
            os.link(path, before)
        os.replace(waiting, path)
        sync_directory(path.parent)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    return keys.public_hex(fresh)


def _no_old_one(path: Path) -> None:
    before = beside(path, "old")
    if before.exists() and not (path.exists() and before.samefile(path)):
        raise UserError(f"{before} is left from an earlier rotation: delete it once no registration lists that key any more")


def _open(path: Path) -> tuple[SigningKey, bytes | None]:
    passphrase = passphrases.ask(path) if isinstance(keys.read(path), keys.SealedKeyFile) else None
    return keys.load(path, passphrase), passphrase
