"""The architecture tests' real data serve here too."""

import sys
from pathlib import Path

ARCHITECTURES = str(Path(__file__).parents[1] / "architectures")
if ARCHITECTURES not in sys.path:
    sys.path.insert(0, ARCHITECTURES)
