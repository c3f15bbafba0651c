# What type checkers see of the names that `__init__.py` loads lazily; a test compares the two.
from typing import Any

from polytask.architectures import create_architecture as create_architecture
from polytask.architectures import create_encoder as create_encoder
from polytask.architectures import list_architectures as list_architectures
from polytask.architectures import register_architecture as register_architecture
from polytask.auxiliary import create_auxiliary as create_auxiliary
from polytask.auxiliary import list_auxiliaries as list_auxiliaries
from polytask.data import Dataset as Dataset
from polytask.data import Mixture as Mixture
from polytask.data import list_datasets as list_datasets
from polytask.data import load_dataset as load_dataset
from polytask.errors import NonFiniteError as NonFiniteError
from polytask.errors import PolytaskError as PolytaskError
from polytask.errors import UserError as UserError
from polytask.optimization import Balancer as Balancer
from polytask.optimization import as_balancer as as_balancer
from polytask.optimization import create_method as create_method
from polytask.optimization import list_methods as list_methods
from polytask.optimization.gradients.conflict_free import ConFIG as ConFIG
from polytask.optimization.regularization import create_regularizer as create_regularizer
from polytask.optimization.regularization import list_regularizers as list_regularizers
from polytask.optimization.scheduling import create_schedule as create_schedule
from polytask.optimization.scheduling import list_schedules as list_schedules
from polytask.relationships import group_tasks as group_tasks
from polytask.study import compare as compare
from polytask.study import pareto as pareto
from polytask.study import relate as relate
from polytask.study import select_auxiliaries as select_auxiliaries
from polytask.tabular import MultiTaskEstimator as MultiTaskEstimator
from polytask.tasks import Task as Task
from polytask.training import Callback as Callback
from polytask.training import Trainer as Trainer
from polytask.verbosity import get_verbosity as get_verbosity
from polytask.verbosity import set_verbosity as set_verbosity

__version__: str

# Methods and architectures by their class names, third parties' included.
def __getattr__(name: str) -> Any: ...
