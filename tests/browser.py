"""A headless Chromium for tests of pages; without one the tests are skipped and say why."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from required import lacking

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def start(profile: Path) -> Any:
    """A browser with an empty profile, and with the messages of its pages kept."""
    pytest.importorskip("selenium")
    from selenium import webdriver

    binary = next((found for name in NAMES if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        lacking("browser", "no Chromium here, or no chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def looks(browser: Any, width: int = 1400, scheme: str = "light", media: str = "") -> None:
    """How wide the window is, which colours its reader prefers, and whether it is paper ("print")."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
