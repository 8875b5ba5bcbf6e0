"""The fingerprint of labels and rules. They were written before anything was measured; the README says which they were.

`python -m bench.injection.frozen` prints it. A test holds it against the README, so that nobody changes a label without
saying there why, and what the figures were before and after.
"""

import hashlib
from pathlib import Path

HERE = Path(__file__).resolve().parent


def frozen(folder: Path = HERE) -> str:
    """Return one SHA-256 over the name and the content of every file with a label or a rule in it."""
    whole = hashlib.sha256()
    for path in sorted([*folder.glob("*/tools.py"), *folder.glob("*/policy/*.cedar")]):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{digest}  {path.relative_to(folder).as_posix()}\n".encode())
    return whole.hexdigest()


if __name__ == "__main__":
    print(frozen())
