"""Prepare a release: `make release`. Checks the tree, builds, tries what was built, and says what remains to be done.

It publishes nothing: tagging and uploading are done by a person, with the commands that it prints.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from convostore import __version__
from scripts.environments import ROOT, Failed, build, install, run, try_out

_SECTION = re.compile(
    r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?\n(?P<body>.*?)(?=^## |\Z)", re.M | re.S
)

_REMAINING = """
Built and tried: {names}
{hashes}

What remains to be done by a person:
  make check test-pythons                      # unless CI has run them on this commit
  git tag --sign v{version} --message "convostore {version}"
  git push origin v{version}
  {uv} publish {files}
  # then a release in the repository's host, with the section of CHANGELOG.md\
"""


def problems(changelog: str, version: str, changed: str, tags: str) -> Iterator[str]:
    """Yield what is in the way of a release.

    Args:
        changelog: the text of CHANGELOG.md.
        version: the version to be released.
        changed: what `git status --porcelain` says.
        tags: what `git tag` says.
    """
    if changed:
        yield f"the tree is not clean:\n{changed.rstrip()}"
    if f"v{version}" in tags.split():
        yield f"v{version} is tagged: raise __version__ in src/convostore/__init__.py"
    sections = {found["name"]: found for found in _SECTION.finditer(changelog)}
    if sections.pop("Unreleased", {"body": ""})["body"].strip():
        yield "CHANGELOG.md has unreleased changes: move them into the section of the version"
    newest = next(iter(sections), None)
    if newest != version:
        yield f"the newest section of CHANGELOG.md is of {newest}, not of {version}"
    elif not sections[newest]["date"]:
        yield f"CHANGELOG.md does not say when {version} is released: ## [{version}] - YYYY-MM-DD"
    elif not sections[newest]["body"].strip():
        yield f"CHANGELOG.md says nothing of {version}"


def main() -> int:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = [*problems(changelog, __version__, run("git", "status", "--porcelain"), run("git", "tag"))]
    if found:
        print("\n".join(f"release: {problem}" for problem in found), file=sys.stderr)
        return 1
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    try:
        built = build(ROOT / "dist")
        with tempfile.TemporaryDirectory() as scratch:
            print(f"Installing {built[1].name} with all extras into an empty environment, and running its demo")
            install(sys.executable, Path(scratch), f"{built[1]}[all]")
            try_out(Path(scratch), "all")
    except Failed as failed:
        print(f"release: {failed}", file=sys.stderr)
        return 1
    names = [str(file.relative_to(ROOT)) for file in built]
    hashes = "\n".join(f"  {sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in built)
    said = {"names": ", ".join(names), "hashes": hashes, "files": " ".join(names), "uv": ".venv/bin/uv"}
    print(_REMAINING.format(version=__version__, **said))
    if "[project.urls]" not in (ROOT / "pyproject.toml").read_text("utf-8"):
        print(
            "  # pyproject.toml names no [project.urls]: add the repository's and the documentation's before you upload"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
