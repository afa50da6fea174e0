"""Makes the pictures of the documentation: screenshots of real reports, section by section.

    python -m analyses.doc_pictures --demo runs/first --scans runs/scans --real runs/smollm2

Each option names a finished run whose report.html is photographed: `--demo` and `--scans` those of
`docs/pages/tutorial/demo.md`, `--real` that of `real-model.md`; without an option its pictures
stay as they are. Needs a Chromium and `pip install playwright`.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parents[1] / "docs" / "pages" / "images"
LARGEST = 200_000
"""Bytes of a picture."""
WIDTH, TALLEST, SCALE = 1100, 1250, 0.8
"""Pixels: of the page, and at the most of what is shown of it, before it is scaled down."""

FIGURE = "figure[data-figure={}]"
PICTURES = {
    "demo": {
        "demo-report": ("header", ".cards"),
        "demo-heatmaps": ("#places", FIGURE.format("collapse")),
        "demo-front": (FIGURE.format("tradeoff"), FIGURE.format("rates")),
        "demo-counts": (FIGURE.format("counts"), FIGURE.format("counts-collapse")),
    },
    "scans": {"demo-scan": ("#scans ~ details figure", "#scans ~ details figure")},
    "real": {
        "smollm2-heatmaps": ("#places", FIGURE.format("collapse")),
        "smollm2-front": (FIGURE.format("tradeoff"), FIGURE.format("rates")),
        "smollm2-contenders": ("#contenders", FIGURE.format("contenders")),
    },
}
"""By option: the picture, and the first and last thing of the report that it shows."""


def main() -> None:
    """Photographs the reports of the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    for kind in PICTURES:
        parser.add_argument(f"--{kind}", type=Path, metavar="RUN")
    parser.add_argument("--output", type=Path, default=IMAGES)
    given = parser.parse_args()
    runs = {kind: run for kind in PICTURES if (run := getattr(given, kind)) is not None}
    if not runs:
        parser.error("name a run with " + ", ".join(f"--{kind}" for kind in PICTURES))
    photograph(runs, given.output)


def photograph(runs: dict[str, Path], folder: Path) -> None:
    """Writes the pictures of these runs, by option, into a folder."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for kind, run in runs.items():
            size: Any = {"width": WIDTH, "height": TALLEST}
            page = browser.new_page(viewport=size, device_scale_factor=SCALE)
            page.goto((run / "report.html").resolve().as_uri())
            page.wait_for_function("document.querySelectorAll('.plot svg').length > 0")
            for name, (first, last) in PICTURES[kind].items():
                one = folder / f"{name}.png"
                one.write_bytes(between(page, first, last))
                print(f"{one.name}: {one.stat().st_size / 1000:.0f} kB")
                if one.stat().st_size > LARGEST:
                    raise SystemExit(f"{one.name} is larger than {LARGEST / 1000:.0f} kB")
        browser.close()


def between(page: Any, first: str, last: str) -> bytes:
    """The page from the top of one thing to the foot of another, over its whole width, as PNG."""
    # Figures are drawn when they come into view.
    for selector in (last, first):
        page.locator(selector).first.scroll_into_view_if_needed()
        page.wait_for_timeout(1500)
    boxes = [page.locator(selector).first.bounding_box() for selector in (first, last)]
    up, gap = page.evaluate("window.scrollY"), 8
    top = max(boxes[0]["y"] + up - gap, 0)
    foot = boxes[1]["y"] + boxes[1]["height"] + up + gap
    height = min(foot - top, TALLEST)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": height}
    return page.screenshot(full_page=True, clip=clip, animations="disabled")


if __name__ == "__main__":
    main()
