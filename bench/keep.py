"""Where every measurement is kept: one JSON file each, named by what was measured and when."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def keep(what: Mapping[str, Any], *, at: datetime, name: str = "", folder: Path = RESULTS) -> Path:
    """Write a measurement down and return its file; the folder is made where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{f'{name}-' if name else ''}{at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(what, indent=1) + "\n")
    return path
