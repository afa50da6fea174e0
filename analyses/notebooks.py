"""Executes the notebooks and writes their outputs into them, small: figures as PNG, no bars.

    python -m analyses.notebooks [01_quickstart ...]

Needs the extras `notebook` and `static`, and for `05_real_model` the model, in the folder that
LOCSCOPE_SMOLLM2 names or by its alias. Each runs in a folder of its own that is gone afterwards.
"""

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HOME = Path(__file__).parents[1] / "notebooks"
MOST = 500_000
"""Bytes of a notebook."""
LOCAL = re.compile(
    r"(<script crossorigin type=\"module\">).*?CircuitsVis\.render\((.*)\)", re.DOTALL
)
"""What CircuitsVis writes without a network: its whole library, 1.3 MB, before what is drawn."""
PNG = """
import plotly.io
plotly.io.renderers["png"].width = 900
plotly.io.renderers.default = "png"
"""
"""Figures are drawn as PNG, which GitHub shows too."""
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(names: list[str]) -> None:
    """Executes those named, or all."""
    for path in sorted(HOME.glob("*.ipynb")):
        if not names or path.stem in names:
            execute(path)
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def execute(path: Path) -> None:
    """Runs a notebook in a folder of its own and writes it with its outputs.

    Raises ValueError where it grows too large to be kept in a repository.
    """
    book = nbformat.read(path, as_version=4)
    book.cells.insert(0, nbformat.v4.new_code_cell(PNG))
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(book, timeout=None, resources={"metadata": {"path": folder}})
        client.execute()
        away = str(Path(folder).resolve())
    book.cells.pop(0)
    for number, cell in enumerate([one for one in book.cells if one.cell_type == "code"], 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        cell.outputs = [trimmed(one, away, number) for one in cell.outputs if is_kept(one)]
    book.metadata.pop("widgets", None)
    book.metadata["language_info"] = {"name": "python"}
    text = nbformat.writes(book)
    if len(text) > MOST:
        raise ValueError(f"{path.name} would have {len(text)} bytes: at most {MOST} are kept")
    path.write_text(text + "\n", encoding="utf-8")


def is_kept(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a result: bars and what libraries log on stderr are none."""
    bar = WIDGET in output.get("data", {})
    return not bar and output.get("name") != "stderr"


def trimmed(output: nbformat.NotebookNode, folder: str, number: int) -> nbformat.NotebookNode:
    """An output without the folder that it ran in, and with CircuitsVis from where it is served."""
    if "execution_count" in output:
        output.execution_count = number
    data = output.get("data", {})
    if "text/html" in data:
        data["text/html"] = LOCAL.sub(_served, "".join(data["text/html"]))
    for kind in [kind for kind in data if kind.startswith("text/")]:
        data[kind] = data[kind].replace(f"{folder}/", "")
    return output


def _served(match: re.Match[str]) -> str:
    import circuitsvis

    name, element, drawn = match[2].strip().split(",", 2)
    element = element.strip().removeprefix("CircuitsVis.")
    source = f"https://unpkg.com/circuitsvis@{circuitsvis.__version__}/dist/cdn/esm.js"
    lines = (match[1], f'import {{ render, {element} }} from "{source}";')
    return "\n".join((*lines, f"render({name}, {element}, {drawn})"))


if __name__ == "__main__":
    main(sys.argv[1:])
