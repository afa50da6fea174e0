"""Photographs of whole reports at three widths of a screen and on paper, to be looked at.

    python -m analyses.report_screens --output reports/screens demo=runs/first smollm2=runs/smollm2

Each run is given as NAME=FOLDER, and its report.html becomes NAME-1440.png, NAME-1024.png,
NAME-390.png and NAME-print.png: the top of the page, as far as a picture is readable. Needs a
Chromium and `pip install playwright pillow`.
"""

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

WIDTHS = {1440: (800, 4000), 1024: (800, 3600), 390: (390, 5000)}
"""By the width of a screen: the width of its picture, and how much of the page it shows."""
PAPER = 794
"""Pixels across a sheet of A4, as browsers count them."""
PRINTED = (640, 3760)
COLOURS = 256


def main() -> None:
    """Photographs the reports of the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--output", type=Path, default=Path("reports/screens"))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, _, folder in (run.partition("=") for run in args.runs):
            report = (Path(folder) / "report.html").resolve().as_uri()
            for width, (shown, height) in WIDTHS.items():
                page = opened(browser, report, width)
                write(args.output / f"{name}-{width}.png", page, shown, height)
            page = opened(browser, report, PAPER)
            page.emulate_media(media="print")
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
            page.wait_for_timeout(1000)
            write(args.output / f"{name}-print.png", page, *PRINTED)
        browser.close()


def opened(browser: Any, address: str, width: int) -> Any:
    """A page of that width, scrolled through once, as figures are drawn when they are seen."""
    page = browser.new_page(viewport={"width": width, "height": 1000})
    page.goto(address)
    page.wait_for_function("document.querySelectorAll('.plot svg').length > 0")
    for place in (1000, 2000, 3000, 4000, 0):
        page.evaluate(f"scrollTo(0, {place})")
        page.wait_for_timeout(400)
    over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if over > 0:
        raise SystemExit(f"{address} is {over} pixels wider than a screen of {width}")
    return page


def write(path: Path, page: Any, width: int, height: int) -> None:
    """The top of a page, made as wide as that and saved in few colours."""
    size = page.viewport_size["width"]
    clip = {"x": 0, "y": 0, "width": size, "height": height}
    taken = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip))).convert("RGB")
    small = taken.resize((width, round(height * width / size)), Image.Resampling.LANCZOS)
    # Rare colours too: the outline of the recommendation is a few pixels of red.
    small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    page.close()


if __name__ == "__main__":
    main()
