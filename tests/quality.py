"""The quality gate: `python -m tests.quality [--all]` measures how well layouts hold, or finds a result that applies.

quality.json beside this file is the last result, with a hash of the sources that it depends on. While that hash is the
same, the result is reused. `python -m tests.quality` writes it; commit it together with the change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).with_name("quality.json")
SOURCES = ("lib_anyms/engine", "lib_anyms/lab/evaluation", "lib_anyms/standalone/files")
EVALUATE = ("-m", "lib_anyms", "evaluate", "--here", "--suite", "quick", "--bars")


def sources(root: Path) -> list[Path]:
    """The files that the result depends on."""
    paths = []
    for folder in SOURCES:
        paths += [path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(paths)


def sources_hash(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over names and contents, the same for every kind of line end."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def stored(expected_hash: str, file: Path) -> dict[str, str]:
    """The stored result if it is of these sources, else nothing."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        return result if result["sources"] == expected_hash else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def measure() -> tuple[int, str]:
    """Run the evaluation -> exit code and output. It takes about 2 minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="anyms-quality-") as folder:
        command = [sys.executable, *EVALUATE, "--out", folder]
        process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return process.returncode, process.stdout


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="measure even if the stored result applies")
    args = parser.parse_args(arguments)
    current = sources_hash(sources(ROOT), ROOT)
    result = {} if args.all else stored(current, RESULT)
    if result:
        print(f"quality: measured on {result['date']} with the same sources\n\n{result['bars']}")
        return 0
    code, output = measure()
    print(output)
    if code == 0:
        bars = output.rpartition("\n\n")[2].strip()
        text = json.dumps({"sources": current, "date": f"{date.today()}", "bars": bars}, indent=2, ensure_ascii=False)
        RESULT.write_text(text + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
