"""Writes the picture of the page that the README shows, from a catalog that runs (the demo's, say): a PNG of at most 150 kB.

`python -m tests.catalog.browser.screenshot http://127.0.0.1:8080 FILE.png [--view profiles] [--theme dark]`
"""

import argparse
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from tests.catalog.browser.chromium import MISSING, chromium
from tests.catalog.browser.steps import VIEWS, live, settled

BYTES_MAX = 150_000
SIZE: ViewportSize = {"width": 1200, "height": 760}


def main() -> None:
    """Take the picture; ends with an error if it is too large."""
    parser = argparse.ArgumentParser(description="A picture of the catalog's page.")
    parser.add_argument("address")
    parser.add_argument("file", type=Path)
    parser.add_argument("--view", choices=VIEWS, default="overview")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    path = chromium()
    if path is None:
        raise SystemExit(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        page = browser.new_page(viewport=SIZE, color_scheme=options.theme, reduced_motion="reduce")
        page.goto(options.address.rstrip("/") + "/" + VIEWS[options.view][0])
        live(page)
        settled(page, options.view)
        picture = page.screenshot(path=options.file)
        browser.close()
    print(f"{options.file}: {len(picture)} bytes")
    if len(picture) > BYTES_MAX:
        raise SystemExit(f"more than {BYTES_MAX} bytes")


if __name__ == "__main__":
    main()
