"""The training tests' real data serve here too."""

import sys
from pathlib import Path

TRAINING = str(Path(__file__).parents[1] / "training")
if TRAINING not in sys.path:
    sys.path.insert(0, TRAINING)
