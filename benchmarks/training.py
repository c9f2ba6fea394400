"""Training speed of the U-Net beside other libraries' U-Nets, at each one's own size.

    python benchmarks/training.py --batch 16 --rounds 7 --json training.json

A step is forward, mean squared error, backward, fused AdamW, on 32x32 pictures of 3 channels. For
each peer our network is configured to have its parameters and its FLOPs within 10%. Variants of a
pair take turns, step by step, in one process, so that what else the machine does hits all alike;
the figures are medians over rounds of paired ratios, with quartiles. Memory is the growth of peak
resident memory during three steps in a fresh process each.

Peers are optional, README.md says how to install them; those not found are listed as missing.
"""

import argparse
import contextlib
import dataclasses
import importlib.machinery
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sfumato.networks import UNet, parameters

SIZE = (3, 32, 32)
PRECISIONS = ("fp32", "bf16")
NOT_NEEDED = (
    *("torchvision", "torchvision.transforms", "torchvision.utils"),
    *("pytorch_fid", "pytorch_fid.fid_score", "pytorch_fid.inception"),
)


class Called(nn.Module):
    """A peer's network behind the signature `(x, t)`, `t` in [0, 1]."""

    def __init__(self, network: nn.Module, call: Callable[..., Tensor]):
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.call(self.network, x, t)


@contextlib.contextmanager
def placeholders(names: tuple[str, ...]) -> Iterator[None]:
    """Stand-ins, while importing, for packages that read pictures and score them."""
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    for name in names:
        stand_in = MagicMock()
        stand_in.__spec__ = importlib.machinery.ModuleSpec(name, None)
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(kept)


def diffusers() -> nn.Module:
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=32,
        block_out_channels=(64, 128, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    return Called(network, lambda network, x, t: network(x, 1000 * t).sample)


def lucidrains() -> nn.Module:
    with placeholders(NOT_NEEDED):
        from denoising_diffusion_pytorch import Unet
    network = Unet(dim=64, dim_mults=(1, 2, 4))
    return Called(network, lambda network, x, t: network(x, 1000 * t))


def azula() -> nn.Module:
    from azula.nn.layers import SineEncoding
    from azula.nn.unet import UNet as Network

    network = Network(3, 3, hid_channels=(64, 128, 192), hid_blocks=(3, 2, 2), mod_features=256)
    encode = SineEncoding(256)
    return Called(network, lambda network, x, t: network(x, encode(t)))


def smalldiffusion() -> nn.Module:
    with placeholders(NOT_NEEDED):
        from smalldiffusion import Unet
    network = Unet(32, 3, 3, ch=64, ch_mult=(1, 2, 2, 2))
    return Called(network, lambda network, x, t: network(x, t))


@dataclasses.dataclass(frozen=True)
class Pair:
    """A peer's network and the settings that give ours its size."""

    peer: Callable[[], nn.Module]
    ours: dict[str, object]

    def build(self, whose: str) -> nn.Module:
        torch.manual_seed(0)
        return UNet(**self.ours) if whose == "ours" else self.peer()


PAIRS = {
    "diffusers": Pair(diffusers, {"multipliers": (1, 2, 2), "attention": (1, 2)}),
    "denoising-diffusion-pytorch": Pair(
        lucidrains, {"width": 60, "multipliers": (1, 2, 3), "attention": (2,)}
    ),
    "azula": Pair(azula, {"multipliers": (1, 2, 3), "blocks": 1, "attention": ()}),
    "smalldiffusion": Pair(  # whose attention has one head
        smalldiffusion, {"multipliers": (1, 2, 2, 2), "attention": (1,), "head_width": 128}
    ),
}


def flops(network: nn.Module) -> int:
    """Floating-point operations of one forward pass of one picture, attention included."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        network(torch.randn(1, *SIZE), torch.rand(1))
    return counter.get_total_flops()


def stepper(network: nn.Module, precision: str, batch: int) -> Callable[[], None]:
    """A function that trains the network by one step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    x, t, target = torch.randn(batch, *SIZE), torch.rand(batch), torch.randn(batch, *SIZE)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            y = network(x, t)
        F.mse_loss(y.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak(precision: str) -> float:
    """The best rate just now, in FLOP/s, of a matrix product or a wide 3x3 convolution."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a = torch.randn(1536, 1536).to(dtype)
    x, w = torch.randn(4, 256, 32, 32).to(dtype), torch.randn(256, 256, 3, 3).to(dtype)
    product = 2 * 1536**3 / min(seconds(lambda: a @ a) for _ in range(3))
    work = 2 * x.numel() * w[:, 0].numel()
    return max(product, work / min(seconds(lambda: F.conv2d(x, w, padding=1)) for _ in range(3)))


def race(pair: Pair, batch: int, rounds: int) -> tuple[dict[str, list[float]], ...]:
    """Seconds of each step of each variant, taking turns, and the machine's peak in each round."""
    steps = {
        f"{whose} {precision}": stepper(pair.build(whose), precision, batch)
        for whose in ("ours", "peer")
        for precision in PRECISIONS
    }
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    peaks: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for _ in range(rounds):
        for precision in PRECISIONS:
            peaks[precision].append(peak(precision))
        for name, step in steps.items():
            times[name].append(seconds(step))
    return times, peaks


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times faster, round by round."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {"median": median, "low": low, "high": high}


def resident() -> float:
    """Peak resident memory of this process so far, in MB."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # getrusage would tell of the parent process too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes, on macOS


def memory_here(name: str, whose: str, precision: str, batch: int) -> float:
    """What three steps add to the peak memory of this process, in MB.

    Whose step it is, both have built the peer once: a process that has imported much has loaded
    parts of PyTorch, and freed memory, that would otherwise count for one of them only.
    """
    PAIRS[name].build("peer")
    network = PAIRS[name].build(whose)
    before = resident()
    step = stepper(network, precision, batch)
    for _ in range(3):
        step()
    return resident() - before


def memory(name: str, variant: str, options: argparse.Namespace) -> float:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", name, *variant.split()]
    command += ["--batch", str(options.batch), "--threads", str(options.threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(name: str, options: argparse.Namespace) -> dict[str, object]:
    """All figures of one pair."""
    pair = PAIRS[name]
    sizes = {}
    for whose in ("ours", "peer"):
        network = pair.build(whose)
        sizes[whose] = {"parameters": parameters(network), "flops": flops(network)}
    for what in ("parameters", "flops"):
        if abs(sizes["ours"][what] / sizes["peer"][what] - 1) > 0.1:
            raise SystemExit(f"{name}: {what} differ by more than 10%: {sizes}")
    times, peaks = race(pair, options.batch, options.rounds)
    work = {whose: 3 * options.batch * size["flops"] for whose, size in sizes.items()}
    rates = {v: work[v.split()[0]] / statistics.median(t) for v, t in times.items()}
    peak_rates = {precision: statistics.median(rate) for precision, rate in peaks.items()}
    speedups = {
        f"ours {p} over peer {q}": ratio(times[f"peer {q}"], times[f"ours {p}"])
        for p in PRECISIONS
        for q in PRECISIONS
    }
    return {
        "sizes": sizes,
        "seconds": {v: statistics.median(t) for v, t in times.items()},
        "flop_per_second": rates,
        "peak_flop_per_second": peak_rates,
        "speedups": speedups,
        "memory_mb": {v: memory(name, v, options) for v in times},
    }


def show(name: str, found: dict[str, object]) -> None:
    """One pair, for people."""
    size, peaks = found["sizes"], found["peak_flop_per_second"]
    print(f"\n{name}")
    print("  peak: " + ", ".join(f"{p} {rate / 1e9:.0f} GFLOP/s" for p, rate in peaks.items()))
    for whose in ("ours", "peer"):
        n, f = size[whose]["parameters"] / 1e6, size[whose]["flops"] / 1e9
        print(f"  {whose}: {n:.2f}M parameters, {f:.2f} GFLOP forward per picture")
    for v, rate in found["flop_per_second"].items():
        print(
            f"  {v}: {1e3 * found['seconds'][v]:7.1f} ms, {rate / 1e9:6.1f} GFLOP/s, "
            f"{rate / peaks[v.split()[1]]:4.0%} of peak, {found['memory_mb'][v]:5.0f} MB"
        )
    for what, r in found["speedups"].items():
        print(f"  {what}: {r['median']:.2f}x ({r['low']:.2f} to {r['high']:.2f})")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=16, help="pictures a step")
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each variant, >= 2")
    parser.add_argument("--threads", type=int, default=1, help="threads of one operation")
    parser.add_argument("--peers", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--json", help="write all figures to this file")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(memory_here(*options.memory_of, options.batch))
        return
    results, missing = {}, {}
    for name in options.peers:
        try:
            PAIRS[name].peer()
        except (ImportError, RuntimeError) as error:  # RuntimeError: a broken torchvision
            missing[name] = str(error).split("\n")[0]
            print(f"\n{name}: missing ({missing[name]})")
            continue
        results[name] = compare(name, options)
        show(name, results[name])
    if options.json:
        report = vars(options) | {"torch": torch.__version__, "missing": missing}
        pathlib.Path(options.json).write_text(json.dumps(report | {"pairs": results}, indent=1))


if __name__ == "__main__":
    main()
