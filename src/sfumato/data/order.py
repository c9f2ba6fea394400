"""The order in which a training run reads its data: a pure function of (seed, position).

Position counts samples since the start of training. Epoch `e` covers positions `e n` to
`(e + 1) n - 1` and visits every sample once, in a permutation of its own: so a run that resumes at
position `p` sees what it would have seen, and batches may straddle epochs.
"""

import numpy as np
import numpy.typing as npt

from sfumato.errors import BadInput

Indices = npt.NDArray[np.int64]


class Order:
    """A fresh permutation of `n` samples each epoch.

    The permutation sorts raw Philox words. NumPy promises that stream of every release, which it
    does not for `Generator.permutation`: a run resumed under another NumPy keeps its order.

    Args:
        n: how many samples there are, at least 1.
        seed: any integer >= 0.

    Raises:
        BadInput: if `n` or `seed` is out of range.
    """

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise BadInput(f"n = {n}: an order needs at least one sample")
        if seed < 0:
            raise BadInput(f"seed = {seed}: a seed is an integer from 0 up")
        self.n, self.seed = n, seed
        self._recent: tuple[int, Indices] = (-1, np.empty(0, np.int64))  # memo of one epoch

    def indices(self, start: int, count: int) -> Indices:
        """Which samples stand at positions `start` to `start + count - 1`: int64 `(count,)`.

        Raises:
            BadInput: if `start` or `count` is negative.
        """
        if start < 0 or count < 0:
            raise BadInput(f"start = {start}, count = {count}: positions count from 0 up")
        out = np.empty(count, np.int64)
        done = 0
        while done < count:
            epoch, offset = divmod(start + done, self.n)
            piece = self._permutation(epoch)[offset : offset + count - done]
            out[done : done + len(piece)] = piece
            done += len(piece)
        return out

    def _permutation(self, epoch: int) -> Indices:
        known, order = self._recent
        if known != epoch:
            words = np.random.Philox(np.random.SeedSequence([self.seed, epoch])).random_raw(self.n)
            order = np.argsort(words, kind="stable").astype(np.int64, copy=False)
            self._recent = (epoch, order)
        return order
