"""Inputs that a fuzzer makes, which goes on from those that reach new lines of the package.

The fuzzer is libFuzzer, by way of atheris. It ends the process that it runs in, so every kind of
input has a process of its own: ``python -m faults.guided KIND WORK RUNS`` with ``scripts`` on the
path of Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast.errors import ForecastError

if TYPE_CHECKING:
    from .inputs import Outcome

_ROOT = Path(__file__).resolve().parents[2]

KINDS = (
    "tracks (CSV)",
    "crowd recordings",
    "nuScenes tables",
    "nuScenes map expansions",
    "GeoJSON maps",
    "stores, opened",
    "descriptions in weights",
    "prediction files, bytes",
    "challenge submissions",
    "acceptance criteria",
    "kinds of categories",
    "messages to the viewer",
)
"""Inputs that are bytes or JSON documents and are read in less than a second."""

_COMPILED = ("models", "planning")
"""Packages that Numba compiles a part of: it cannot read code that counts its branches."""

_LONGEST_BYTES = 200_000
_COUNTED = re.compile(r"DONE\s+cov: (\d+)")


class Reading:
    """Takes the place of a `Mutator`; notes what it is asked for, and changes nothing.

    Attributes:
        choices: Number of items that a choice was made from.
        content: The content of the file.
    """

    changes = False

    def __init__(self, choice: int = 0) -> None:
        self._choice, self.choices, self.content = choice, 1, b""

    def one_of(self, items: Sequence[Any]) -> Any:
        """The chosen item."""
        self.choices = len(items)
        return items[self._choice % len(items)]

    def bytes_of(self, content: bytes) -> bytes:
        """The content as it is."""
        self.content = content
        return content

    file = bytes_of

    def document(self, value: Any) -> bytes:
        """The value as JSON."""
        return self.bytes_of(json.dumps(value).encode())


class Fuzzed(Reading):
    """Gives the bytes of the fuzzer: the first is the choice, all others are the content."""

    changes = True

    def __init__(self, data: bytes) -> None:
        super().__init__(data[0] if data else 0)
        self.content = data[1:]

    def bytes_of(self, content: bytes) -> bytes:
        """The fuzzer's bytes instead of the good content."""
        return self.content

    file = bytes_of

    def document(self, value: Any) -> bytes:
        """The fuzzer's bytes instead of a good document; those that are not UTF-8 replaced."""
        return self.content.decode(errors="replace").encode()


@dataclass(frozen=True)
class Found:
    """What came of the inputs of one kind.

    Attributes:
        outcome: What was taken, refused and wrong.
        branches: Branches of the package that the inputs reached.
    """

    outcome: Outcome
    branches: int


def good_inputs(attempt: Any) -> list[bytes]:
    """The unchanged inputs of a kind, as bytes for `Fuzzed`: one for each choice.

    The first is taken. Others may be refused: a good request of the viewer in a scene that it does
    not fit.
    """
    found: list[bytes] = []
    number = choices = 1
    while number <= choices:
        change = Reading(number - 1)
        with contextlib.suppress(ForecastError):
            attempt(change)
        choices, number = change.choices, number + 1
        found.append(bytes([len(found)]) + change.content)
    return found


def campaign(kind: str, work: Path, runs: int) -> Found:
    """Runs the fuzzer on one kind of inputs in a process of its own.

    Raises:
        ForecastError: atheris is not installed, or the process could not begin.
    """
    from .inputs import Outcome

    work.mkdir(parents=True, exist_ok=True)
    log, counts = work / "log", work / "outcomes"
    counts.unlink(missing_ok=True)
    command = [sys.executable, "-m", __name__, kind, str(work), str(runs)]
    folders = [str(_ROOT / "scripts"), str(_ROOT), *sys.path]
    with log.open("wb") as file:
        ended = subprocess.run(
            command,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            check=False,
        )
    words = log.read_text(errors="replace")
    if not counts.exists():
        raise ForecastError(f"{kind}: the fuzzer did not begin: {words.strip()[-300:]}")
    outcome = Outcome()
    for number, line in enumerate(counts.read_text().splitlines()):
        outcome.add(number, line)
    reached = _COUNTED.search(words)
    if ended.returncode or reached is None:
        outcome.faults.append(f"the process ended with code {ended.returncode}: {words[-300:]}")
    return Found(outcome, int(reached[1]) if reached else 0)


def measure(work: Path, runs: int) -> dict[str, Found]:
    """Runs the fuzzer on all kinds, so many inputs of each."""
    return {kind: campaign(kind, work / str(i), runs) for i, kind in enumerate(KINDS)}


def table(found: dict[str, Found]) -> str:
    """The Markdown table of all kinds."""
    lines = ["| inputs | number | taken | refused | faults | branches reached |", "|---" * 6 + "|"]
    total = 0
    for kind, each in found.items():
        counts = [each.outcome.taken, each.outcome.refused, len(each.outcome.faults)]
        total += sum(counts)
        cells = " | ".join(f"{count:,}" for count in (sum(counts), *counts, each.branches))
        lines.append(f"| {kind} | {cells} |")
    return "\n".join([*lines, f"| together | {total:,} | | | | |"])


def _uncounted() -> list[str]:
    """The modules of `_COMPILED`."""
    root = _ROOT / "forecast"
    files = [path for package in _COMPILED for path in (root / package).rglob("*.py")]
    parts = [path.relative_to(_ROOT).with_suffix("").parts for path in files]
    return [".".join(each).removesuffix(".__init__") for each in parts]


def _fuzz(kind: str, work: Path, runs: int) -> None:
    """Fuzzes one kind; does not return."""
    import atheris

    with atheris.instrument_imports(include=["forecast"], exclude=_uncounted()):
        from .inputs import Material, tried, ways_in
        from .mutations import WORDS

    attempt = ways_in(Material.of(work / "material"))[kind]
    seeds, words = work / "seeds", work / "words"
    seeds.mkdir(exist_ok=True)
    for number, data in enumerate(good_inputs(attempt)):
        (seeds / str(number)).write_bytes(data)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS if word)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [f"-runs={runs}", f"-max_len={_LONGEST_BYTES}", f"-dict={words}", "-seed=1"]
    with (work / "outcomes").open("w", buffering=1) as file:

        def one(data: bytes) -> None:
            file.write(tried(attempt, Fuzzed(data)) + "\n")

        atheris.Setup([__name__, *options, "-rss_limit_mb=8192", str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    _fuzz(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
