"""Take a picture of every screen, light and dark, large and small: `python -m tests.ui.shots` (or `make shots`).

It starts the product on servers of its own, so it needs nothing; the pictures go to test-results/shots.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

from playwright.sync_api import sync_playwright

from models import Business, User, db
from tests import servers
from tests.browsers import ARGUMENTS, EXECUTABLE
from tests.processes import Live
from tests.receivers import listening
from tests.ui import conftest, webhook_scene
from tests.ui.screens import SCREENS, Screen, show
from tests.ui.test_webhooks_settings import SCREENS as WEBHOOKS

OUT = Path("test-results/shots")
SIZES = {"large": (1440, 900), "small": (390, 844)}


def main(wanted: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    servers.begin()
    live = Live(servers.provide("shots"))
    try:
        live.start()
        take(live, wanted)
    finally:
        live.stop()
        if servers.FOLDER in os.environ:
            servers.end()


def take(live: Live, wanted: list[str]) -> None:
    place = conftest.build(live)
    with listening() as server, sync_playwright() as running:
        screens = (*SCREENS, *_webhooks(live, place, server.url()))
        browser = running.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        context = browser.new_context()
        conftest.sign_in(context.new_page(), place)
        state = context.storage_state()
        for screen in screens:
            if wanted and screen.name not in wanted:
                continue
            for size, (width, height) in SIZES.items():
                for theme in ("light", "dark"):
                    page = browser.new_page(
                        viewport={"width": width, "height": height},
                        color_scheme=theme,
                        storage_state=state if screen.signed_in else None,
                    )
                    page.set_default_timeout(5000)
                    path = OUT / f"{screen.name}-{size}-{theme}.png"
                    try:
                        show(page, screen, place.url, place.numbers)
                    except Exception as problem:
                        sys.stderr.write(f"{path.name}: {str(problem).splitlines()[0]}\n")
                    page.screenshot(path=path)
                    page.close()
        browser.close()


def _webhooks(live: Live, place: conftest.Place, url: str) -> list[Screen]:
    with live.app.app_context():
        mary = db.session.query(User).filter_by(email=place.mary).one()
        made = asdict(webhook_scene.build(db.session.get_one(Business, place.business_id), mary, url))
    return [Screen(screen.name, screen.path.format(**made), screen.steps) for screen in WEBHOOKS]


if __name__ == "__main__":
    main(sys.argv[1:])
