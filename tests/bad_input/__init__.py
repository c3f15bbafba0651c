"""Malformed inputs, the doors they come through, and what each must say.

`python -m tests.bad_input` prints every message in one table, to be read by a person.
"""

from .batches import BATCHES
from .case import Case, Outcome, attempt, sentences
from .datasets import DATASETS
from .estimators import ESTIMATORS
from .files import FILES
from .flags import FLAGS
from .functions import FUNCTIONS
from .loops import LOOPS
from .modules import MODULES
from .networks import NETWORKS
from .splits import SPLITS
from .studies import STUDIES
from .targets import TARGETS
from .yamls import YAMLS

COMMAND = [*FILES, *TARGETS, *SPLITS, *YAMLS, *FLAGS]
PYTHON = [*DATASETS, *ESTIMATORS, *NETWORKS, *FUNCTIONS, *BATCHES, *MODULES, *STUDIES, *LOOPS]
CASES: list[Case] = [*COMMAND, *PYTHON]

__all__ = ["CASES", "Case", "Outcome", "attempt", "sentences"]
