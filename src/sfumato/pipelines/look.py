"""What a report shows of a model beyond its samples: classes, trajectories, nearest neighbours."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sfumato.guidance import Clip
from sfumato.pipelines.build import build_sampler
from sfumato.pipelines.pipeline import Pipeline
from sfumato.pipelines.samples import picture
from sfumato.sampling import State
from sfumato.sampling.noise import Seeded

SHOWN = 8
"""Classes, neighbours and moments of a trajectory that are shown."""

EACH, QUICK, RISING = 4, 10, 3
"""Samples a class, steps of these, and samples whose trajectory is shown."""

MOST = 2000
"""Real samples whose own nearest neighbour is looked for."""

Rows = npt.NDArray[np.float32]
Strip = list[Image.Image]


def guided(pipe: Pipeline, scale: float) -> list[Strip]:
    """A few samples of each of the first classes at a guidance scale, the same seeds for all."""
    classes = list(pipe.card.classes[:SHOWN])
    drawn = pipe.sample(EACH * len(classes), classes, guidance=scale, steps=QUICK, seed=0).images
    return [drawn[k :: len(classes)] for k in range(len(classes))]


@torch.no_grad()
def rising(pipe: Pipeline) -> tuple[list[Strip], list[Strip]]:
    """A few trajectories: for each, the states at some moments, and the clean predictions there."""
    driver = build_sampler(pipe.recipe.sampler)
    noise, process = Seeded(0, range(RISING)), pipe.denoiser.process
    first = driver.grid(process)[0]
    x = torch.empty(RISING, *pipe.card.shape, device=pipe.device)
    x = float(process.schedule.sigma(first)) * noise(x, first + 1, first)
    label = torch.arange(RISING, device=pipe.device) % max(1, len(pipe.card.classes))
    condition = {"label": label} if pipe.card.classes else {}
    states = list(driver.trajectory(Clip(pipe.denoiser), x, noise, **condition))
    moments = np.linspace(0, len(states) - 2, SHOWN).round().astype(int)
    chosen = [(states[i], states[i + 1].past[0][1]) for i in moments]
    noisy = [_pictures(pipe, _unit(pipe, state)) for state, _ in chosen]
    clean = [_pictures(pipe, mean) for _, mean in chosen]
    return _across(noisy), _across(clean)


def sample_distances(samples: Rows, real: Rows) -> npt.NDArray[np.float64]:
    """For each sample the distance to the nearest real one, root mean square over entries."""
    return _nearest(samples, real)[0]


def real_distances(real: Rows) -> npt.NDArray[np.float64]:
    """For some real samples the distance to their nearest other."""
    chosen = np.random.default_rng(0).permutation(len(real))[:MOST]
    return _nearest(real[chosen], real, chosen)[0]


def nearest_pairs(samples: Rows, real: Rows) -> npt.NDArray[np.int64]:
    """The numbers of the real samples nearest to the first few samples."""
    return _nearest(samples[:SHOWN], real)[1]


def _nearest(
    samples: Rows, real: Rows, own: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Distance and number of the nearest row of `real`, leaving out the sample's `own`."""
    distance = torch.cdist(torch.from_numpy(samples), torch.from_numpy(real))
    if own is not None and len(real) > 1:
        distance[torch.arange(len(own)), torch.from_numpy(own)] = torch.inf
    value, index = distance.min(1)
    return value.double().numpy() / samples.shape[1] ** 0.5, index.numpy()


def _unit(pipe: Pipeline, state: State) -> torch.Tensor:
    """A noisy state, scaled so that it can be looked at."""
    alpha, sigma = pipe.denoiser.process.at(state.t)
    return state.x / max(1.0, float(torch.hypot(alpha, sigma)))


def _pictures(pipe: Pipeline, z: torch.Tensor) -> Strip:
    return [picture(pixels) for pixels in pipe.codec.decode(z).cpu().numpy()]


def _across(moments: list[Strip]) -> list[Strip]:
    """By sample instead of by moment."""
    return [list(strip) for strip in zip(*moments, strict=True)]
