"""What every test has: one thread, so that many run side by side and numbers do not vary."""

import torch

torch.set_num_threads(1)
