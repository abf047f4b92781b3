"""Every silenced check has its reason beside it, and there are no more of them than were agreed on.

`make lint` runs this. A new one needs a reason and a higher number below, in the same change, for a reviewer to see.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AGREED = {"noqa": 28, "type: ignore": 9, "pragma: no cover": 0, "skip": 8}
_COMMENTS = {
    "noqa": re.compile(r"#\s*noqa(?::\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?(?P<rest>.*)"),
    "type: ignore": re.compile(r"#\s*type:\s*ignore(?:\[[a-z0-9, -]+\])?(?P<rest>.*)"),
    "pragma: no cover": re.compile(r"#\s*pragma:\s*no cover(?P<rest>.*)"),
}
# A call or a mark; its text argument is the reason.
_SKIPS = re.compile(r"\bpytest\s*\.\s*(?:mark\s*\.\s*)?(?:skip|skipif|xfail|importorskip)\b")
_WORDS = re.compile(r"[A-Za-z]{3,}")


def files() -> list[Path]:
    """The Python files that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src/*.py", "tests/*.py", "bench/*.py",
         "packages/*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in sorted(set(listed.stdout.splitlines())) if (ROOT / name).is_file()]


def examine(path: Path) -> tuple[Counter[str], list[str]]:
    """How many of each kind a file holds, and where a reason is missing."""
    found: Counter[str] = Counter()
    bare: list[str] = []
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    text = path.read_text("utf-8").splitlines()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            for kind, pattern in _COMMENTS.items():
                if match := pattern.search(token.string):
                    found[kind] += 1
                    if not _WORDS.search(match["rest"]):
                        bare.append(f"{_name(path)}:{token.start[0]}: {kind} without a reason")
    strings = {
        line for token in tokens if token.type == tokenize.STRING for line in range(token.start[0], token.end[0])
    }
    for number, line in enumerate(text, 1):
        if number in strings or not _SKIPS.search(line.partition("#")[0]):
            continue
        found["skip"] += 1
        if not re.search(r"[\"'].*[A-Za-z]{3,}", " ".join(text[number - 1 : number + 3])):
            bare.append(f"{_name(path)}:{number}: skip without a reason")
    return found, bare


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def main() -> int:
    """Print what is wrong; 1 when something is."""
    total: Counter[str] = Counter()
    problems: list[str] = []
    for path in files():
        found, bare = examine(path)
        total += found
        problems += bare
    for kind, agreed in AGREED.items():
        if total[kind] > agreed:
            problems.append(
                f"{total[kind]} times {kind}, agreed on are {agreed}: remove one, or agree on it in {__file__}"
            )
    for line in problems:
        print(line)
    print(", ".join(f"{kind}: {total[kind]} of {agreed}" for kind, agreed in AGREED.items()))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
