"""Models that draw random numbers or keep statistics: a trial's are its own, whatever it trains beside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.seating import spare_lanes

CPU = torch.device("cpu")
FUSED = ("vmap", "traced")


class Unfamiliar(nn.Module):
    """A user's model: convolution, BatchNorm, dropout, a counting buffer, tied weights, GELU and SiLU."""

    seen: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.3)
        self.wide = nn.Linear(3 * inputs, 13)
        self.second, self.third = nn.Linear(13, 13), nn.Linear(13, 13)
        self.third.weight = self.second.weight
        self.last = nn.Linear(13, outputs)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        h = self.drop(nn.functional.silu(self.norm(self.conv(x.view(-1, 1, 8, 8)))))
        h = self.drop(nn.functional.gelu(self.wide(h.flatten(1))))
        h = torch.sigmoid(self.third(nn.functional.softplus(self.second(h))))
        return self.last(h)


class Smooth(nn.Module):
    """Tiny layers of the functions whose last numbers torch rounds apart, and a layer of one unit."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.one, self.last = nn.Linear(inputs, 5), nn.Linear(5, 1), nn.Linear(6, outputs)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.gelu(self.norm(self.first(x.flatten(1))), approximate="tanh")
        h = torch.cat([h, nn.functional.mish(self.one(h))], dim=1)
        return self.last(nn.functional.elu(h).abs() ** 1.5)


@pytest.fixture
def model_is(monkeypatch):
    def use(model: type[nn.Module]) -> None:
        build = "thalweg.runner.engine.workload.build_model"
        monkeypatch.setattr(build, lambda config, extent: model(extent.features, extent.outputs))

    return use


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_unfamiliar_model_trains_fused_as_it_does_alone(model_is, grid_of, train_all, optimizer) -> None:
    model_is(Unfamiliar)
    trials = grid_of(3, precision="float64", steps=20, optimizer=optimizer)
    solo = train_all(trials, "loop")
    for executor in FUSED:
        fused = train_all(trials, executor)
        np.testing.assert_allclose(losses_of(fused), losses_of(solo), rtol=1e-9)
        for one, other in zip(fused, solo, strict=True):
            assert one.metrics == pytest.approx(other.metrics, rel=1e-8)


@pytest.mark.long
@pytest.mark.parametrize("executor", ["loop", *FUSED])
@pytest.mark.parametrize("model", [Unfamiliar, Smooth])
def test_no_bit_of_such_a_model_depends_on_its_company(model_is, grid_of, trial_of, train_all, model, executor) -> None:
    model_is(model)
    trials = grid_of(9, steps=12, optimizer="adamw", batch_size=7)
    together = [each.weight_hash for each in train_all(trials, executor)]
    for chosen in ([4], [0, 8], [8, 4, 2]):
        part = [each.weight_hash for each in train_all([trials[i] for i in chosen], executor)]
        assert part == [together[i] for i in chosen]
    beside = [trials[0], trial_of(1e30, warmup=0, steps=12, optimizer="adamw", batch_size=7), trials[8]]
    mixed = train_all(beside, executor)
    assert [mixed[0].weight_hash, mixed[2].weight_hash] == [together[0], together[8]]


def test_spare_lanes_are_added_only_where_an_array_has_a_tail(model_is, trial_of) -> None:
    config = trial_of().config
    assert spare_lanes(prepared(config, CPU)) == 0
    model_is(Smooth)
    assert spare_lanes(prepared(config, CPU)) == 13  # 64 numbers of a BatchNorm of 5 channels


class Turned(nn.Module):
    """Powers of constants, as rotary places have them, and a constant that weights are written into."""

    def __init__(self, inputs: int, outputs: int, written: bool = False) -> None:
        super().__init__()
        self.last, self.written = nn.Linear(inputs, outputs), written

    def forward(self, x: Tensor) -> Tensor:
        rates = 100.0 ** -(torch.arange(3.0) / 3)
        table = torch.sigmoid(torch.outer(torch.arange(5.0), rates)).to(x)
        logits = self.last(x.flatten(1)) * table.sum()
        if not self.written:
            return logits
        held = logits.new_zeros(3, logits.shape[1])
        held[:2] = logits[:2]
        return logits + held.sigmoid().mean()


def test_constants_alone_ask_for_no_spare_lanes_and_what_weights_are_written_into_does(model_is, grid_of, train_all):
    model_is(Turned)
    trials = grid_of(3, steps=6, warmup=1, batch_size=7)
    assert spare_lanes(prepared(trials[0].config, CPU)) == 0
    together = train_all(trials, "traced")
    assert train_all(trials[1:2], "traced")[0].weight_hash == together[1].weight_hash
    model_is(lambda inputs, outputs: Turned(inputs, outputs, written=True))
    assert spare_lanes(prepared(trials[0].config, CPU)) > 0


class Routed(nn.Module):
    """Counts how many examples go to each of two experts, as mixtures of experts do."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gate, self.last = nn.Linear(inputs, 2), nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        counts = torch.histc(self.gate(x).argmax(1).float(), bins=2, min=0, max=1)
        return self.last(x) * (1 + counts[0] / len(x)) + self.gate(x).mean()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_counts_are_exact_and_ask_for_no_spare_lanes(model_is, grid_of, train_all) -> None:
    model_is(Routed)
    trials = grid_of(3, steps=4, warmup=1, batch_size=7)
    assert spare_lanes(prepared(trials[0].config, CPU)) == 0
    together = train_all(trials, "traced")
    for chosen in ([1], [2, 0]):
        alone = [each.weight_hash for each in train_all([trials[i] for i in chosen], "traced")]
        assert alone == [together[i].weight_hash for i in chosen]


@pytest.mark.long
@pytest.mark.parametrize("executor", ["loop", *FUSED])
def test_random_numbers_are_of_the_seed_and_the_step(model_is, trial_of, train_all, executor) -> None:
    model_is(Unfamiliar)
    still = [trial_of(0.0, 0.0, steps=3, warmup=1, batch_size=200, seed=seed) for seed in (0, 1)]  # one batch: all rows
    torch.manual_seed(1)
    one = train_all([still[0], still[0]], executor)[0]
    torch.manual_seed(2)  # whatever else was drawn in this process
    again, other = (train_all([trial, trial], executor)[0] for trial in still)
    assert np.array_equal(losses_of([one]), losses_of([again]))
    assert not np.array_equal(losses_of([one]), losses_of([other]))
    assert len(set(losses_of([one])[0])) == 3


@pytest.mark.long
def test_sam_climbs_with_the_masks_of_its_first_pass(model_is, trial_of, train_all) -> None:
    model_is(Unfamiliar)
    for executor in ("loop", *FUSED):
        base, still = trial_of(steps=5, warmup=1), trial_of(steps=5, warmup=1, sam={"name": "standard", "rho": 0.0})
        assert train_all([base], executor)[0].weight_hash == train_all([still], executor)[0].weight_hash


def test_drawing_is_found_out_and_never_shared_between_seeds(model_is, trial_of) -> None:
    trials = [trial_of(seed=seed) for seed in range(2)]
    assert not prepared(trials[0].config, CPU).habits.draws
    model_is(Unfamiliar)
    before = torch.get_rng_state()
    workload = prepared(trials[0].config, CPU)
    assert workload.habits.draws
    assert torch.equal(before, torch.get_rng_state())
    block = Inputs(trials, "per_lane", workload).block(0, 1, np.arange(2))
    with pytest.raises(ValueError, match="one seed at a time"):
        next(block.feeds(workload))


def test_training_a_model_that_draws_leaves_torchs_generator_alone(model_is, grid_of, train_all) -> None:
    model_is(Unfamiliar)
    before = torch.get_rng_state()
    train_all(grid_of(2, steps=3, warmup=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_that_draws_is_given_one_seed_a_cohort_and_not_compiled(model_is, trial_of) -> None:
    model_is(Unfamiliar)
    trials = tuple(trial_of(seed=seed) for seed in (1, 2, 1))
    choice, _ = choose(prepared(trials[0].config, CPU), Question(trials, "per_lane", "compiled"))
    assert (choice.executor, choice.layout) == ("traced", "shared")
    assert "draws random numbers" in choice.reason


class Remembers(nn.Linear):
    """Acts on a Python number that its forward pass changes, late enough to escape a first look."""

    calls = 0

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x.flatten(1)) * (1.0 if self.calls < 20 else 2.0)


class Branches(nn.Linear):
    """Acts on a number of the batch, which vmap lets pass where all lanes share it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)) * (1.0 if x.mean() > 0 else 2.0)


@pytest.mark.parametrize("model", [Remembers, Branches])
def test_what_a_recording_would_leave_out_is_not_recorded(model_is, trial_of, train_all, model, monkeypatch) -> None:
    model_is(model)
    trials = [trial_of(lr, steps=40) for lr in (0.01, 0.02)]
    for name in ("loop", "traced"):
        usual = train_all(trials[:1], name)
        with monkeypatch.context() as patch:
            patch.setattr("thalweg.runner.engine.executors.recorded", lambda workload, name, gradient, *_: gradient())
            assert train_all(trials[:1], name)[0].weight_hash == usual[0].weight_hash


def test_a_recording_that_does_something_else_is_thrown_away(trial_of, train_all, monkeypatch) -> None:
    trial = trial_of(steps=10)
    honest = train_all([trial], "traced")[0].weight_hash
    run = Recording.__call__
    monkeypatch.setattr(
        Recording, "__call__", lambda self, *inputs: tree_map(lambda each: each * 2, run(self, *inputs))
    )
    assert train_all([trial], "traced")[0].weight_hash == honest
