"""Models from disk.

What a file says is checked before anything is made of it, and nothing in it is ever run: names are
looked up in fixed tables, and tensors hold numbers only.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sfumato.codecs import CODECS, Codec, Pixels, Standard
from sfumato.errors import BadInput
from sfumato.pipelines.build import build_denoiser, build_sampler, try_network
from sfumato.pipelines.pipeline import FORMAT, Card, Pipeline
from sfumato.recipes import parse
from sfumato.training import require_same
from sfumato.training.hardware import pick_device

MOST_BYTES = 20_000_000
"""Of a config.json; one of a thousand classes has about 20,000."""

_Side = Annotated[int, Field(ge=1, le=4096)]
_Dims = Annotated[int, Field(ge=1, le=65_536)]
_Vector = Annotated[tuple[_Dims], Field(strict=False)]
_Picture = Annotated[tuple[Literal[1, 3], _Side, _Side], Field(strict=False)]
_Share = Annotated[float, Field(ge=0, le=1, strict=False)]
_Table = dict[str, Any]


class Config(pydantic.BaseModel):
    """What config.json holds."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )

    format: Literal[1]
    shape: _Vector | _Picture
    classes: Annotated[tuple[str, ...], Field(strict=False)]
    frequencies: Annotated[tuple[_Share, ...], Field(strict=False)]
    codec: _Table
    recipe: _Table
    data: _Table
    training: _Table


def load(model: str | Path, device: str | None = None) -> Pipeline:
    """A model from a folder, a run's folder, the name of a built-in one, or a hub id.

    Args:
        model: `"runs/faces"`, `"faces"`, or `"owner/name"` on the Hugging Face hub.
        device: `"cpu"`, `"cuda"`, ...; None: the best there is.

    Raises:
        BadInput: if there is none, or its files do not fit each other.
    """
    place = pick_device(device)
    folder = locate(model)
    try:
        return _read(folder, place)
    except (ArithmeticError, MemoryError, RecursionError, RuntimeError, TypeError) as error:
        raise BadInput(f"{folder} holds no model that can be built: {error}") from error


def locate(model: str | Path) -> Path:
    """The folder of a model, wherever it is.

    Raises:
        BadInput: if there is none.
    """
    given = Path(model)
    zoo = Path(__file__).parent.parent / "zoo"
    try:
        for folder in (given, given / "model", zoo / str(model)):
            if (folder / "config.json").is_file():
                return folder
        there = given.exists()
    except OSError as error:
        raise BadInput(f"{str(model)!r:.100} cannot be looked at: {error.strerror}") from error
    if there:
        raise BadInput(f"{model} holds no model: there is no config.json in it or in its model/")
    if str(model).count("/") == 1 and not str(model).startswith((".", "/", "~")):
        return _from_hub(str(model))
    known = sorted(path.parent.name for path in zoo.glob("*/config.json"))
    raise BadInput(
        f"there is no model {str(model)!r}: give a folder, a hub id (owner/name)"
        + (f" or one of {', '.join(known)}" if known else "")
    )


def _read(folder: Path, device: torch.device) -> Pipeline:
    config = _read_config(folder / "config.json")
    recipe = parse(config.recipe, where=str(folder / "config.json"))
    card = Card(config.shape, config.classes, config.frequencies, config.data, config.training)
    codec = CODECS.build(config.codec)
    _require_fit(codec, card, folder)
    build_sampler(recipe.sampler)
    weights = _read_weights(folder / "model.safetensors")
    skeleton = try_network(recipe, card.shape, len(card.classes))
    require_same(skeleton.state_dict(), weights, str(folder / "model.safetensors"))
    denoiser = build_denoiser(recipe, card.shape, len(card.classes))
    denoiser.network.load_state_dict(weights)
    denoiser.to(device).eval().requires_grad_(False)
    return Pipeline(denoiser, codec, recipe, card)


def _read_config(path: Path) -> Config:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path} has more than {MOST_BYTES:,} bytes: that is no model's")
        document = json.loads(path.read_text(encoding="utf-8"))
    except BadInput:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if type(found) is not int or found != FORMAT:
        raise BadInput(f"{path} is of format {found!r:.40}, and this version reads {FORMAT}")
    try:
        return Config.model_validate(document)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _require_fit(codec: Codec, card: Card, folder: Path) -> None:
    """Refuses a codec or frequencies that are of other data."""
    if len(card.frequencies) != len(card.classes):
        raise BadInput(
            f"{folder / 'config.json'} has {len(card.classes)} classes and "
            f"{len(card.frequencies)} frequencies: each class has one"
        )
    pictures = isinstance(codec, Pixels) and len(card.shape) == 3
    vectors = isinstance(codec, Standard) and card.shape == (len(codec.mean),)
    if not (pictures or vectors):
        raise BadInput(
            f"{folder / 'config.json'}: codec {type(codec).__name__} is not for samples of shape "
            f"{list(card.shape)}"
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    broken = [name for name, tensor in weights.items() if not math.isfinite(tensor.sum())]
    if broken:
        raise BadInput(f"{path}: {broken[0]} holds numbers that are not finite")
    return weights


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BadInput(
            f"there is no folder {name}; to load it from the hub: pip install 'sfumato[hub]'"
        ) from error
    try:
        files = ["config.json", "model.safetensors", "README.md"]
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:  # the hub's own errors are many, and all mean this
        raise BadInput(
            f"there is no folder {name}, and the hub gave no such model: {error}"
        ) from error
