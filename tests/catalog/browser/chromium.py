"""Finds the system's Chromium; downloads none."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium found: `apt-get install -y --no-install-recommends chromium`, or name one in B3IQ_CHROMIUM"


def chromium() -> str | None:
    """Path of the browser: `B3IQ_CHROMIUM` if it is set, else the first of `NAMES` on the path; None if there is none."""
    if named := os.environ.get("B3IQ_CHROMIUM"):
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None)
