"""The key that the agent signs with, taken anew from its file when that was replaced. Keeps the passphrase, in memory only."""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from nacl.signing import SigningKey

from b3iq_streams import keys, passphrases
from b3iq_streams.errors import UserError
from b3iq_streams.node.rotation import beside

_log = logging.getLogger(__name__)


class Identity:
    """A key file and the key in it."""

    def __init__(self, path: Path) -> None:
        """Loads the key; raises UserError if that cannot be done."""
        self._path = path
        self._stamp = self._look()
        self._passphrase = passphrases.ask(path) if isinstance(keys.read(path), keys.SealedKeyFile) else None
        self.key = keys.load(path, self._passphrase)

    def publics(self) -> tuple[bytes, ...]:
        """The public keys that heartbeats of this node may have been signed with: this one, and of a rotation those beside it."""
        found = [bytes(self.key.verify_key)]
        for path in (beside(self._path, "old"), beside(self._path, "next")):
            with suppress(UserError):
                found.append(bytes.fromhex(keys.read(path).public_key))
        return tuple(found)

    async def refresh(self) -> SigningKey:
        """The key to sign the next heartbeat with; a file that cannot be loaded is told once and changes nothing."""
        if (stamp := self._look()) != self._stamp:
            self._stamp = stamp
            await self._reload()
        return self.key

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    async def _reload(self) -> None:
        try:
            if self._passphrase is None and isinstance(keys.read(self._path), keys.SealedKeyFile):
                self._passphrase = passphrases.ask(self._path, prompt=False)  # whoever is asked may be away, and heartbeats wait
            fresh = await asyncio.to_thread(keys.load, self._path, self._passphrase)
        except UserError as error:
            _log.warning("goes on with the key it has: %s", error)
            return
        if bytes(fresh) != bytes(self.key):
            self.key = fresh
            _log.info("signs with key %s from now on", keys.public_hex(fresh)[:16])
