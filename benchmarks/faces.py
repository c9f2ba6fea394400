"""Figures of a model of `faces`: are its samples of the class asked for, varied, and new?

    python benchmarks/faces.py MODEL [--samples 512] [--guidance 2] [--json OUT]

- agreement: the share of guided samples that a classifier, trained on 10,000 of the pictures,
  takes for the class that was asked for; beside it the classifier's own accuracy on the others
- novelty: the distance (RMS over pixels, in levels of 255) from a sample to the nearest training
  picture, beside that from a training picture to its nearest other
- copies: the share of samples that equal a training picture to within two levels RMS
- variety: the share of samples whose nearest other sample is not nearly the same
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn

import sfumato as sf
from sfumato.codecs import Pixels

NEAR = 2.0


def classifier(pictures: Tensor, labels: Tensor, classes: int, steps: int = 600) -> nn.Module:
    """A small convolutional network, trained to tell the classes apart."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16, 128)),
        *(nn.ReLU(), nn.Linear(128, classes)),
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(steps):
        rows = torch.randint(len(pictures), (128,))
        loss = nn.functional.cross_entropy(net(pictures[rows]), labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()


def nearest(a: Tensor, b: Tensor, own: bool = False) -> Tensor:
    """For each picture of `a` the RMS distance to the nearest of `b`, in levels of 255."""
    distance = torch.cdist(a.flatten(1), b.flatten(1)) * 127.5 / a[0].numel() ** 0.5
    if own:
        distance.fill_diagonal_(torch.inf)
    return distance.min(1).values


@torch.no_grad()
def share_right(net: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    return float((net(pictures).argmax(1) == labels).float().mean())


def figures(model: str, samples: int, guidance: float) -> dict[str, float]:
    data, codec = sf.data.load("faces"), Pixels()
    pictures, labels = codec.encode(torch.from_numpy(data.values)), torch.from_numpy(data.labels)
    net = classifier(pictures[:10_000], labels[:10_000], len(data.classes))
    pipe = sf.load(model)
    drawn = pipe.sample(samples, list(data.classes), guidance=guidance, seed=1)
    asked = torch.arange(samples) % len(data.classes)
    x, new = codec.encode(drawn.tensor), pipe.sample(samples, guidance=1.0, seed=2)
    plain = codec.encode(new.tensor)
    to_data = nearest(plain, pictures)
    return {
        "agreement": share_right(net, x, asked),
        "classifier_accuracy": share_right(net, pictures[10_000:], labels[10_000:]),
        "novelty_median": float(to_data.median()),
        "data_to_data_median": float(nearest(pictures[:2000], pictures, own=True).median()),
        "copies": float((to_data < NEAR).float().mean()),
        "data_copies": float((nearest(pictures[:2000], pictures, own=True) < NEAR).float().mean()),
        "variety": float((nearest(plain, plain, own=True) > NEAR).float().mean()),
        "calls": drawn.stats.calls,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = figures(options.model, options.samples, options.guidance)
    for name, value in found.items():
        print(f"{name:22} {value:.4g}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
