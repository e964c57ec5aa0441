"""Check the lock files offline: all is hashed, licences are listed, no version is below a security floor.

`make lint` runs it. `licences.txt` lists the licences of all locked packages but those that are only compared with
(`make peers`), `security-floors.txt` the versions below which a package must not be locked, with the advisory that says
why.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>\S+)[^\n]*(?P<rest>(?:\n +[^\n]+)*)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def pinned(lock: str) -> Iterator[tuple[str, str, int]]:
    """Yield name, version and number of hashes of each requirement of a lock."""
    for found in _PINNED.finditer(lock):
        yield found["name"].lower(), found["version"], len(_HASH.findall(found[0]))


def listed(text: str) -> dict[str, str]:
    """Return the second column of a list by its first; `#` begins a comment."""
    rows = (line.partition("#")[0].split(None, 1) for line in text.splitlines())
    return {row[0]: row[1].strip() for row in rows if row}


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, for comparison."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0]))


def licence_of(name: str) -> str | None:
    """Return the licence that an installed package declares, None if it is not installed."""
    try:
        found: Any = metadata(name)
    except PackageNotFoundError:
        return None
    classifiers = [each.rpartition(" :: ")[2] for each in found.get_all("Classifier", []) if each.startswith("License")]
    stated: str = (
        found.get("License-Expression") or (classifiers or (found.get("License") or "unknown").splitlines())[0]
    )
    return stated


def insecure(locks: dict[str, str], floors: dict[str, str]) -> Iterator[str]:
    """Yield what lock files, by name, have without a hash or below its security floor."""
    for file, lock in locks.items():
        requirements = list(pinned(lock))
        if not requirements:
            yield f"{file}: locks nothing"
        for name, version, hashes in requirements:
            if not hashes:
                yield f"{file}: {name} has no hash"
            if name in floors and numbers(version) < numbers(floors[name]):
                yield f"{file}: {name} {version} is below its security floor {floors[name]}"


def problems(locks: dict[str, str], licences: dict[str, str], floors: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with lock files, by name."""
    yield from insecure(locks, floors)
    names = set[str]()
    for file, lock in locks.items():
        for name, _, _ in pinned(lock):
            names.add(name)
            if name not in licences:
                yield f"{file}: the licence of {name} is not listed"
    yield from (f"licences: {name} is not locked" for name in sorted(licences.keys() - names))
    for name in sorted(licences.keys() & names):
        declared = licence_of(name)
        if declared is not None and declared != licences[name]:
            yield f"licences: {name} declares {declared!r}, listed is {licences[name]!r}"


def main() -> int:
    locks = {name: (ROOT / name).read_text("utf-8") for name in ("requirements.lock", "requirements-lowest.lock")}
    licences, floors = (listed((ROOT / "scripts" / name).read_text("utf-8")) for name in _LISTS)
    peers = {name: (ROOT / name).read_text("utf-8") for name in ("bench/requirements-peers.lock",)}
    found = [*problems(locks, licences, floors), *insecure(peers, floors)]
    print(
        "\n".join(found) or f"{len(licences)} packages are hashed, licensed as listed and above their security floors"
    )
    return 1 if found else 0


_LISTS = ("licences.txt", "security-floors.txt")

if __name__ == "__main__":
    sys.exit(main())
