"""The command `xp-istft`: recordings to spectrograms and back, a demonstration, and what is installed.

Its libraries are those of the extra [cli]; nothing else of the package needs them.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line, and leave with its exit code; without the libraries of [cli], say how to get them."""
    missing = [name for name in ("click", "h5py", "rich", "soundfile", "soxr", "matplotlib") if find_spec(name) is None]
    if missing:
        sys.exit(f"xp-istft: the command line needs {', '.join(missing)}: pip install 'xp-istft[cli]'")
    from .commands import run

    sys.exit(run())
