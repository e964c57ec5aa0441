"""A directory that is created while another process removes abandoned ones is not lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from convostore.embedded.supervisor import files

PREFIX = "convostore-test-"


def test_a_new_directory_that_is_removed_as_abandoned_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mkdir, removed = str(tmp_path / f"{PREFIX}new"), os.mkdir, list[str]()

    def mkdir_and_lose(name: str, mode: int) -> None:
        mkdir(name, mode)
        if not removed:
            removed.append(name)
            files.remove_abandoned(str(tmp_path), PREFIX)
            assert not os.path.exists(name)

    monkeypatch.setattr(os, "mkdir", mkdir_and_lose)
    held = files.own_directory(path)
    assert removed == [path]
    assert os.path.samestat(os.fstat(held), os.stat(path))
    os.close(held)


def test_a_new_directory_that_another_process_holds_to_remove_it_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mkdir, holding = str(tmp_path / f"{PREFIX}new"), os.mkdir, list[int]()

    def mkdir_and_lose(name: str, mode: int) -> None:
        mkdir(name, mode)
        if not holding:
            holding.append(os.open(name, os.O_RDONLY))
            fcntl.flock(holding[0], fcntl.LOCK_EX)

    def removed(_: Any) -> None:
        shutil.rmtree(path)
        os.close(holding[0])

    monkeypatch.setattr(os, "mkdir", mkdir_and_lose)
    monkeypatch.setattr(time, "sleep", removed)
    os.close(files.own_directory(path))
    assert len(holding) == 1


def test_a_directory_that_lives_on_is_not_taken(tmp_path: Path) -> None:
    path = str(tmp_path / f"{PREFIX}held")
    held = files.own_directory(path)
    files.remove_abandoned(str(tmp_path), PREFIX)
    with pytest.raises(files.UnsafePath, match="in use"):
        files.own_directory(path)
    os.close(held)
    files.remove_abandoned(str(tmp_path), PREFIX)
    assert not os.path.exists(path)
