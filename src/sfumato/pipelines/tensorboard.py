"""TensorBoard events beside a run's own log."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.errors import BadInput
from sfumato.pipelines.log import Progress

Training = Generator[Progress, None, None]


def with_tensorboard(run: Training, folder: str | Path) -> Training:
    """The same progress, written to `folder/tensorboard` as it passes.

    Args:
        run: what `train` returned.
        folder: the run's folder.

    Raises:
        BadInput: if TensorBoard is not installed, before the run begins.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BadInput("TensorBoard events need: pip install 'sfumato[tensorboard]'") from error
    return _written(run, lambda: SummaryWriter(str(Path(folder) / "tensorboard")))


def _written(run: Training, open_writer: Any) -> Training:
    writer = None
    try:
        for progress in run:
            writer = writer or open_writer()  # not before: a refused run leaves no folder behind
            _write(writer, progress)
            yield progress
    finally:
        run.close()
        if writer is not None:
            writer.close()


def _write(writer: Any, progress: Progress) -> None:
    if progress.event == "samples" and progress.path is not None:
        with Image.open(progress.path) as image:
            writer.add_image("samples", np.asarray(image), progress.step, dataformats="HWC")
    elif not progress.event:
        writer.add_scalar("loss", progress.loss, progress.step)
        writer.add_scalar("samples per second", progress.rate, progress.step)
