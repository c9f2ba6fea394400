"""The shape of a recipe: frozen, typed, every number within its range.

What is built by name (a network, a schedule, ...) is a `Component`: a table with a `name`, and
settings that are checked when it is built. A name alone stands for a table of that name.
"""

import math
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field

MOST_SAMPLES = 100_000_000  # of a data set, and of anything counted in samples
MOST_DEPTH = 8  # of tables within tables in a component

Text = Annotated[str, Field(strict=False, max_length=10_000)]  # a folder may be called 2024
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Minutes = Annotated[float, Field(gt=0, le=10_000_000)]  # about 19 years
Share = Annotated[float, Field(ge=0, le=1)]
Choice = Literal["auto", True, False]
_FILE_NAME = r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$"


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _plain(value: Any, depth: int = 0) -> None:
    """Refuses what TOML and JSON cannot both hold."""
    if depth > MOST_DEPTH:
        raise ValueError(f"tables are nested more than {MOST_DEPTH} deep")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for part in value:
            _plain(part, depth + 1)
    elif not isinstance(value, bool | int | float | str):
        raise ValueError(f"{value!r} is neither a number, a text, a list nor a table")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")


def _component(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value.get("name"), str):
        raise ValueError('it needs a name, as in {name = "..."}')
    _plain(value)
    return value


def _sourced(value: Any) -> Any:
    return {"source": value} if isinstance(value, str | int) else value


Component = Annotated[dict[str, Any], BeforeValidator(_named), AfterValidator(_component)]


class _Table(pydantic.BaseModel):
    """What all parts of a recipe share: nothing changes, nothing unknown, nothing infinite."""

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class Data(_Table):
    """What is learned from."""

    source: Text = Field(min_length=1)
    """A built-in set by name, a folder of pictures, or a `.npz` or `.npy` file."""
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Height and width in pixels; none: chosen from the data."""
    channels: Literal[1, 3] | None = None
    """1 (grey) or 3 (colour); none: chosen from the data."""
    label: Text | None = None
    """The attribute that is the class; none: the set's own; `"none"`: no labels."""
    limit: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] | None = None
    """At most this many samples, spread evenly over the set."""
    flip: bool = False
    """Shows every picture mirrored half of the time."""


class Process(_Table):
    """How data become noise, and what of it the network learns."""

    schedule: Component = {"name": "Cosine"}
    """How much signal and how much noise there is at each time."""
    target: Component = {"name": "V"}
    """What the network regresses."""


class Objective(_Table):
    """What is minimised."""

    times: Component = {"name": "Uniform"}
    """Which noise levels training visits, and how often."""
    weight: Component = {"name": "OfTarget"}
    """How much each noise level counts."""
    coupling: Component = {"name": "Independent"}
    """Which noise each sample is paired with."""
    label_dropout: Share = 0.1
    """The share of samples whose label is hidden, so that guidance has something to compare."""


class Training(_Table):
    """The loop. It ends after `steps`, or as many steps as `minutes` hold, whichever are fewer."""

    steps: Count | None = None
    """Optimiser steps at which training ends."""
    minutes: Minutes | None = None
    """Minutes to train for; made into steps at the start, by this machine's measured speed."""
    batch: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    """Samples in one optimiser step."""
    micro_batch: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Samples in one pass through the network, where memory is short; a divisor of `batch`."""
    rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    """The learning rate after warm-up."""
    warmup: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Steps over which the rate rises from 0."""
    decay: Literal["constant", "cosine", "linear", "inverse-sqrt"] = "cosine"
    """How the rate goes on; `cosine` and `linear` fall to 1% at the end, the others need none."""
    betas: Annotated[
        tuple[
            Annotated[float, Field(ge=0, lt=1)],
            Annotated[float, Field(ge=0, lt=1)],
        ],
        Field(strict=False),
    ] = (0.9, 0.99)
    """AdamW's memories of the gradient and of its square."""
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    """AdamW's pull of the weights towards 0."""
    clip: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """The longest gradient, in the Euclidean norm; longer ones are shortened to it."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """The longest memory of the averaged weights, per step; it is shorter in the beginning."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """What all random numbers of the run follow from."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the network computes in; `auto`: bfloat16 where the machine is faster with it."""
    channels_last: Choice = "auto"
    """The memory layout of pictures; `auto`: whichever is faster on this machine."""
    compile: Choice = "auto"
    """Whether the network is compiled; `auto`: where this machine gains by it."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads; none: as many as there are cores."""
    checkpoint_minutes: Minutes = 5.0
    """Minutes between checkpoints."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 2
    """How many checkpoints are kept, the latest ones."""
    sample_minutes: Minutes = 5.0
    """Minutes between grids of samples; the last step always makes one."""
    samples: Annotated[int, Field(ge=1, le=4096)] = 64
    """Samples in such a grid."""

    @pydantic.model_validator(mode="after")
    def _ends(self) -> "Training":
        if self.steps is None and self.minutes is None:
            raise ValueError("it never ends; give steps, minutes or both")
        return self

    @pydantic.model_validator(mode="after")
    def _divides(self) -> "Training":
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(
                f"micro_batch = {self.micro_batch} does not divide batch = {self.batch}"
            )
        return self


class Sampler(_Table):
    """How the model draws unless asked otherwise."""

    step: Component = {"name": "Multistep", "order": 2}
    """How one move is made."""
    grid: Component = {"name": "LogSNR"}
    """Where the moves begin and end; how many there are is `steps`."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 20
    """The number of moves."""
    guidance: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """The guidance scale; 1 is plain conditional sampling."""
    clip: bool = True
    """Keeps predictions of pictures within what a pixel can be."""

    @pydantic.field_validator("grid")
    @classmethod
    def _steps_apart(cls, grid: dict[str, Any]) -> dict[str, Any]:
        if "steps" in grid:
            raise ValueError("the number of steps stands beside the grid, as sampler.steps")
        return grid


class Recipe(_Table):
    """One training run, whole."""

    name: Annotated[Text, Field(max_length=100, pattern=_FILE_NAME)]
    """What the run and its model are called; a file name without a folder."""
    about: Text = ""
    """A sentence on what it is for."""
    data: Annotated[Data, BeforeValidator(_sourced)]
    """What is learned from; a text alone is its `source`."""
    network: Component = {"name": "Auto"}
    """What learns; `Auto` fits a network to the data's shape."""
    process: Process = Process()
    """How data become noise."""
    objective: Objective = Objective()
    """What is minimised."""
    training: Training
    """The loop."""
    sampler: Sampler = Sampler()
    """How the model draws."""
