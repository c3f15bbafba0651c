"""One thread a test process: tests run side by side on small machines."""

import torch

torch.set_num_threads(1)
