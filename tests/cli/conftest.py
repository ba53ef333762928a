"""The command line as its users meet it: `main(argv)` on a real database file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from auditcli.cli.app import main
from tests.cli.shop import Ran, Shop, build_shop, open_shop

Audit: TypeAlias = Callable[..., Ran]


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that is copied for each test."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    build_shop(path)
    return path


@pytest.fixture
def shop(built_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    """A shop with a short history."""
    shutil.copy(built_shop, tmp_path / "shop.db")
    shop = open_shop(tmp_path / "shop.db")
    yield shop
    shop.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Audit:
    """Run a command line."""

    def run_words(*words: str) -> Ran:
        code = main(list(words))
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run_words


@pytest.fixture
def audit(shop: Shop, run: Audit) -> Audit:
    """Run a command line on the shop's database."""
    return lambda *words: run("-u", str(shop.path), *words)
