"""The shape vocabulary and the one broadcasting helper.

Data `x` has shape `(batch, *shape)`. Times and everything computed from times alone are float64
of shape `()`, `(batch,)` or `(batch, length)`, and act on the leading axes of `x`. A time of
shape `()` lives on the CPU, so that its coefficients become kernel arguments and no loop waits for
a GPU.
"""

import torch
from torch import Tensor


def expand(k: Tensor, x: Tensor) -> Tensor:
    """A coefficient `k` of shape `x.shape[:k.ndim]`, as a factor for `x`, in its precision."""
    if x.is_floating_point():
        k = k.to(x.dtype)
    return k.reshape(k.shape + (1,) * (x.ndim - k.ndim)) if k.ndim else k


def combine(*terms: tuple[Tensor, Tensor]) -> Tensor:
    """The linear combination `sum k y` over pairs `(k, y)`, one kernel a term."""
    (k, y), *rest = terms
    total = expand(k, y) * y
    for k, y in rest:
        if k.ndim:
            total = torch.addcmul(total, expand(k, y), y)
        else:
            total = torch.add(total, y, alpha=float(k))
    return total


def as_time(t: float | Tensor, like: Tensor | None = None) -> Tensor:
    """A time as float64; times of samples go to the device of the data `like`."""
    t = torch.as_tensor(t, dtype=torch.float64)
    return t.to(like.device) if like is not None and t.ndim else t
