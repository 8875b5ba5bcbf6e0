"""The museum of bad journals, all rooms of it."""

from __future__ import annotations

from tests.unit.journal.verify import verify_museum_bodies, verify_museum_order, verify_museum_rows
from tests.unit.journal.verify.verify_frame import MUSEUM, Bad

ROOMS = (verify_museum_rows, verify_museum_bodies, verify_museum_order)

__all__ = ["MUSEUM", "ROOMS", "Bad"]
