"""Puts the project's folder on the path, so that tests find their builder under every import mode."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))
