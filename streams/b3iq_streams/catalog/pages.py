"""The page and its files, read once from the package. A file's address carries the version of them all, so it never goes stale.

The page names them `assets/NAME`; what is served names them `assets/VERSION/NAME`. Knows nothing of what they do.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.responses import Response

PAGE = "index.html"
FOREVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}

_NAMED = re.compile(rb'="/?assets/')


class Asset(NamedTuple):
    """One file as it is served."""

    content: bytes
    media_type: str
    etag: str


class Assets:
    """The files by name; none at all is fine."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        whole = sha256()
        for name, content in sorted(contents.items()):
            whole.update(b"%d %b %d " % (len(name), name.encode(), len(content)) + content)
        self.version = whole.hexdigest()[:16]
        self._files = {name: self._asset(name, content) for name, content in contents.items() if _type(name)}

    @classmethod
    def packaged(cls) -> "Assets":
        """Those in the package's folder."""
        folder = files(__package__).joinpath("assets")
        return cls(dict(_contents(folder, "")) if folder.is_dir() else {})

    @property
    def page(self) -> Asset | None:
        """The page."""
        return self._files.get(PAGE)

    def find(self, path: str) -> tuple[Asset, bool] | None:
        """A file by the rest of its address, and whether that carries the version."""
        versioned = path.startswith(f"{self.version}/")
        asset = self._files.get(path.removeprefix(f"{self.version}/"))
        return (asset, versioned) if asset else None

    def _asset(self, name: str, content: bytes) -> Asset:
        if name == PAGE:
            content = _NAMED.sub(rb"\g<0>%b/" % self.version.encode(), content)
        return Asset(content, _type(name), f'"{sha256(content).hexdigest()[:32]}"')


def _contents(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for file in folder.iterdir():
        if file.is_dir():
            yield from _contents(file, f"{prefix}{file.name}/")
        elif _type(file.name):
            yield prefix + file.name, file.read_bytes()


def respond(asset: Asset, forever: bool, none_match: str | None) -> Response:
    """The file, or 304 for a reader who has it."""
    headers = {"etag": asset.etag, "cache-control": FOREVER if forever else "no-cache"}
    if matches(none_match, asset.etag):
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def matches(none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names the entity tag."""
    if none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in none_match.split(",")]
    return etag in tags or "*" in tags


def _type(name: str) -> str:
    return next((kind for ending, kind in _TYPES.items() if name.endswith(ending)), "")
