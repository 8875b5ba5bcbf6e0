"""A shop of one's own for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from answerable import Secret
from refund_desk.seed import seed_shop
from refund_desk.shop import Shop, open_shop, shop_token

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop that honours keys."""
    return open_shop(tmp_path, seed=seed_shop, slow_ms=1)


@pytest.fixture
def forgetful(tmp_path: Path) -> Shop:
    """A shop that ignores keys."""
    return open_shop(tmp_path, seed=seed_shop, slow_ms=1, honours_keys=False)


@pytest.fixture
def token(tmp_path: Path) -> Secret:
    """The token of this test's shop."""
    return Secret(shop_token(tmp_path))
