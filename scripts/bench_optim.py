"""Times each optimizer class of ours against torch's foreach implementation of the same, side by side in one process.

    scripts/bench --optim [--rounds N] [--write]

The parameters are those of a ResNet-18 (62 tensors, 11.7 million numbers) with random gradients, one thread. Both sides
step in turn (ABBA), and the ratio is the median over the rounds of neighbouring steps. Before it is timed, each pair
takes three steps from the same weights and must agree. What torch lacks is written here with torch._foreach functions,
as torch's own are. --write puts the table between its markers in docs/optim.md.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import torch  # noqa: E402

from thalweg.optim import SAM, AdamL2, AdamW, Lion, Muon, SGDMomentum  # noqa: E402

GOAL = 1.15
PAGE = ROOT / "docs" / "optim.md"
BEGIN, END = "<!-- optimizers: scripts/bench --optim --write -->", "<!-- optimizers: end -->"
Step = Callable[[], object]
Weights = list[torch.Tensor]


def gradients(params: Weights) -> Weights:
    """Those of all parameters, unchecked, since it is timed: each has one."""
    return [p.grad for p in params]  # type: ignore[misc]


@dataclass(frozen=True)
class Pair:
    """One row: our class and torch's, each made from parameters; `apart` is how far they may be after three steps."""

    name: str
    against: str
    ours: Callable[[Weights], Step]
    theirs: Callable[[Weights], Step]
    apart: float = 1e-5


class ForeachLion:
    """Lion with torch._foreach functions."""

    def __init__(self, params: Weights, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        self.params, self.lr, self.betas, self.decay = params, lr, betas, weight_decay
        self.means = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self) -> None:
        grads = gradients(self.params)
        torch._foreach_mul_(self.params, 1 - self.lr * self.decay)
        direction = torch._foreach_lerp(self.means, grads, 1 - self.betas[0])
        torch._foreach_add_(self.params, torch._foreach_sign(direction), alpha=-self.lr)
        torch._foreach_lerp_(self.means, grads, 1 - self.betas[1])


class ForeachSAM:
    """The two steps of SAM with torch._foreach functions, weights saved and copied back."""

    def __init__(self, base: torch.optim.Optimizer, rho: float) -> None:
        self.base, self.rho = base, rho
        self.params: Weights = [p for group in base.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        grads = gradients(self.params)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        saved = [p.clone() for p in self.params]
        torch._foreach_add_(self.params, [*torch._foreach_mul(grads, self.rho / (norm + 1e-12))])
        torch._foreach_copy_(self.params, saved)
        self.base.step()


def torch_muon(params: Weights) -> Step:
    """torch.optim.Muon for the kernels, seen as matrices, and torch.optim.AdamW (foreach) for the rest."""
    flat = [torch.nn.Parameter(p.detach().flatten(1)) for p in params if p.dim() > 1]
    pairs = [(p, f) for p, f in zip([p for p in params if p.dim() > 1], flat, strict=True)]
    for (_, f), grad in zip(pairs, gradients([p for p, _ in pairs]), strict=True):
        f.grad = grad.flatten(1)  # shares memory, as f shares p's
    muon = torch.optim.Muon(flat, lr=1e-3, adjust_lr_fn="match_rms_adamw")
    rest = torch.optim.AdamW([p for p in params if p.dim() < 2], lr=1e-3, weight_decay=0.1, foreach=True)
    return lambda: (muon.step(), rest.step())  # type: ignore[no-untyped-call]


def sam_step(params: Weights) -> Step:
    sam = SAM(AdamW(params), rho=0.05)
    return lambda: (sam.first_step(), sam.second_step())


SGD: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
PAIRS = [
    Pair(
        "SGDMomentum", "torch.optim.SGD",
        lambda p: SGDMomentum(p, **SGD).step, lambda p: torch.optim.SGD(p, **SGD, foreach=True).step,
    ),
    Pair(
        "SGDMomentum, Nesterov", "torch.optim.SGD",
        lambda p: SGDMomentum(p, **SGD, nesterov=True).step,
        lambda p: torch.optim.SGD(p, **SGD, nesterov=True, foreach=True).step,
    ),
    Pair("AdamW", "torch.optim.AdamW", lambda p: AdamW(p).step, lambda p: torch.optim.AdamW(p, foreach=True).step),
    Pair(
        "AdamL2", "torch.optim.Adam",
        lambda p: AdamL2(p, weight_decay=1e-2).step,
        lambda p: torch.optim.Adam(p, weight_decay=1e-2, foreach=True).step,
    ),
    Pair(
        "AdamL2, AMSGrad", "torch.optim.Adam",
        lambda p: AdamL2(p, amsgrad=True).step, lambda p: torch.optim.Adam(p, amsgrad=True, foreach=True).step,
    ),
    Pair(
        "Lion", "written with torch._foreach",
        lambda p: Lion(p, lr=1e-4, weight_decay=0.1).step,
        lambda p: ForeachLion(p, 1e-4, (0.9, 0.99), 0.1).step,
        apart=1e-3,  # a sign where the momentum all but vanishes
    ),
    Pair(
        "SAM around AdamW", "written with torch._foreach",
        sam_step, lambda p: ForeachSAM(torch.optim.AdamW(p, foreach=True), 0.05).step,
    ),
    Pair("Muon", "torch.optim.Muon (bfloat16) + AdamW", lambda p: Muon(p).step, torch_muon, apart=1e-2),
]  # fmt: skip


def resnet18() -> Weights:
    """The parameters of a ResNet-18 with random gradients."""
    from torchvision.models import resnet18 as build

    torch.manual_seed(0)
    params = list(build().parameters())
    for p in params:
        p.grad = torch.randn_like(p) * 1e-2
    return params


def agree(pair: Pair) -> bool:
    """Whether both sides are at the same weights after three steps."""
    ours, theirs = resnet18(), resnet18()
    for params, make in ((ours, pair.ours), (theirs, pair.theirs)):
        step = make(params)
        for _ in range(3):
            step()
    gap = math.sqrt(sum(float((a - b).detach().square().sum()) for a, b in zip(ours, theirs, strict=True)))
    return gap <= pair.apart * math.sqrt(sum(float(b.detach().square().sum()) for b in theirs))


def milliseconds(step: Step) -> float:
    """CPU time of a step: one thread, so the same as by the clock, and no other's work is counted."""
    started = time.thread_time()
    step()
    return (time.thread_time() - started) * 1e3


def times(pair: Pair, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a step of ours and of theirs, in turn."""
    steps = [make(resnet18()) for make in (pair.ours, pair.theirs)]
    for step in steps:
        step()
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            taken[side].append(milliseconds(steps[side]))
    return taken


def table(rounds: int) -> str:
    """The measured table as Markdown."""
    rows = []
    for pair in PAIRS:
        if not agree(pair):
            sys.exit(f"{pair.name} and {pair.against} do not agree; nothing is timed")
        ours, theirs = times(pair, rounds if pair.name != "Muon" else max(3, rounds // 10))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        rows.append(
            f"| `{pair.name}` | {pair.against} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} "
            f"| **{ratio:.2f}** |\n"
        )
        print(rows[-1], end="", file=sys.stderr)
    today = datetime.datetime.now(datetime.UTC).date()
    return f"""## Speed

Made by `scripts/bench --optim --rounds {rounds} --write` on {today}: {platform.machine()}, {os.cpu_count()} cores, one
thread; Python {platform.python_version()}, torch {torch.__version__}. CPU milliseconds of a step over the parameters
of a ResNet-18 (62 tensors, 11.7 million numbers), against torch's foreach implementation in turn in one process;
medians. Goal: at most {GOAL}.

| class | against | ours, ms | theirs, ms | ours / theirs |
|---|---|---|---|---|
{"".join(rows)}"""


def main() -> None:
    """Time every pair and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optim", action="store_true", help="given by scripts/bench")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="write the table into docs/optim.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = table(options.rounds)
    print(made)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        marked = f"{BEGIN}\n{made}{END}\n"
        if BEGIN in page:
            page = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}\n", lambda _: marked, page, flags=re.DOTALL)
        else:
            page = f"{page.rstrip()}\n\n{marked}"
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
