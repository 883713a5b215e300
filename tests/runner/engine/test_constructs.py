"""For whatever a module does: the loop is a plain torch loop, fused is the loop, or one sentence says why not."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import math
import random
import sys
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.deviation import deviation
from thalweg.runner.engine.evaluate import rows_at_once
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.streams import batch_indices, stream_key
from thalweg.runner.study.target import ModelTarget
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
SOURCE = Path(__file__).with_name("constructs.py")
STEPS = 12
USUAL = {"steps": STEPS, "warmup": 3, "precision": "float64"}
NUMBER = itertools.count()
FUSES = "fuses"
ATTRIBUTES = "changes attributes of its own"
NOT_SEEN = "holds sqlite3.Connection, whose state nobody sees"
ITERATES = "holds numpy.flatiter, whose state nobody sees"
POINTS = "LP_c_int, whose state nobody sees"
THREADS = "computes in threads"
CATCHES = "catches what torch raises"
CACHES = "keeps tensors in a cache"
EVALUATION = "is changed by evaluation"
HOOKS = "has hooks"
GRADIENTS = "hooks gradients in its forward pass"
READS = "acts on the numbers in its tensors"
DRAWS = "draws numpy's or Python's random numbers"
WEIGHTS = "changes its weights in its forward pass"
DRAWN = "keeps in attributes what it drew when built"
VMAP = "vmap cannot take this model"
DIFFERS = "the fused gradient differs from the loop's"
OUTSIDE = "changes constructs."
ELSEWHERE = "changes torch.nn"
IN_MATH = "changes math.calls"
FOREIGN = ".calls_here"
IN_TORCH = "changes torch.tanh"
DTYPE = "changes torch's default dtype"
AUTOCAST = "changes torch's autocast"
DEEP = "holds objects within objects"
COMPILES = "has parts that torch compiles"
# fmt: off
WHY = {
    VMAP: (
        "Checkpointed", "CheckpointedMiddle", "CheckpointedSequence", "CheckpointedDropout", "CheckpointedBatchNorm",
        "SparseGradient", "Middle: RReLU", "Sequences: LSTM, projected", "Functions: inference of data",
    ),
    FUSES: (
        "SavedTensorHooks", "ComplexBuffer", "ComplexInside", "RetainedGradient", "ReversesGradient", "MovingTarget",
        "TorchRandom", "Dropout", "AlwaysDropout", "SeedsItself", "Unused", "Detached", "NoGradPart", "ZeroGradient",
        "Gate", "Empty", "SparseBuffer", "HalfBuffer", "Weakly", "Plain", "Tied", "TiedModules", "Normed",
        "CountingBuffer",
        "Parametrized", "Orthogonal", "OwnParametrization", "Convolutional", "Attention", "Positions", "by_function",
        "Middle: ReLU", "Middle: GELU", "Middle: SiLU", "Middle: ELU", "Middle: SELU", "Middle: CELU",
        "Middle: Mish", "Middle: Softplus", "Middle: Softsign", "Middle: Tanhshrink", "Middle: Hardtanh",
        "Middle: Hardswish", "Middle: Hardsigmoid", "Middle: LeakyReLU", "Middle: LogSigmoid", "Middle: PReLU",
        "Middle: ReLU6", "Middle: Sigmoid", "Middle: Softshrink", "Middle: Hardshrink", "Middle: Identity",
        "Middle: Dropout", "Middle: AlphaDropout", "Middle: FeatureAlphaDropout", "Middle: Softmax",
        "Middle: Softmin", "Middle: LogSoftmax", "Middle: GLU", "Middle: Bilinear", "Middle: LayerNorm",
        "Middle: RMSNorm", "Middle: GroupNorm", "Middle: BatchNorm1d", "Middle: BatchNorm1d, no statistics",
        "Middle: BatchNorm1d, no weights", "Middle: BatchNorm1d, cumulative",
        "Middle: Unflatten", "Middle: ModuleDict", "Middle: ParameterList",
        "Middle: jit", "Middle: CosineSimilarity", "Pictures: Conv2d, groups", "Pictures: Conv2d, dilated",
        "Pictures: ConvTranspose2d", "Pictures: BatchNorm2d", "Pictures: InstanceNorm2d",
        "Pictures: InstanceNorm2d, statistics", "Pictures: SyncBatchNorm", "Pictures: LocalResponseNorm",
        "Pictures: MaxPool2d", "Pictures: AvgPool2d", "Pictures: LPPool2d", "Pictures: AdaptiveAvgPool2d",
        "Pictures: AdaptiveMaxPool2d", "Pictures: FractionalMaxPool2d", "Pictures: Dropout2d",
        "Pictures: PixelShuffle", "Pictures: ChannelShuffle", "Pictures: Upsample", "Pictures: ReflectionPad2d",
        "Pictures: Unfold", "Pictures: Softmax2d", "Pictures: channels last", "Sequences: Conv1d",
        "Sequences: attention", "Sequences: attention, weights", "Sequences: attention, causal",
        "Sequences: encoder", "Sequences: decoder layer", "Sequences: scaled dot product",
        "Functions: written in place", "Functions: written into zeros", "Functions: where", "Functions: by mask",
        "Functions: by index", "Functions: einsum", "Functions: outer", "Functions: cumsum", "Functions: sort",
        "Functions: topk", "Functions: roll", "Functions: flip", "Functions: logsumexp", "Functions: fft",
        "Functions: matrix exponential", "Functions: inverse", "Functions: solve", "Functions: eigenvalues",
        "Functions: qr", "Functions: norm", "Functions: straight through", "Functions: shape", "Functions: assert",
        "Functions: jvp", "Functions: clamp_", "Functions: exec", "Functions: sum of a list",
        "Functions: view as real", "Reversible", "SpectralParametrized", "Recurrent", "Sequences: RNN",
        "Sequences: LSTM, both ways", "Sequences: GRU", "Sequences: LSTM, dropout", "Sequences: LSTMCell",
        "Sequences: encoder layer", "Sequences: encoder layer, as it is", "Sequences: scaled dot product, dropout",
        "Functions: dropout turned round", "Functions: written into torch.zeros", "Functions: filled place by place",
        "Functions: old function", "Functions: function of two results", "FillsCache", "FillsRegister", "FrozenNorm",
        "FrozenFirst", "FrozenMiddle", "Middle: frozen", "ImportsInside",
        "EvaluatesInside", "Sequences: scaled dot product, learned bias", "Sequences: encoder, padded", "MaskBuffer",
        "FillsRegisterByClass", "Dispatched", "OwnOperation", "Profiled", "GeneratorInside", "OddTensors",
        "TrainReturnsNothing", "WritesInput: training", "WritesInput: evaluation", "WritesInput: both",
        "CachesEvaluated", "SharesActivation", "SharesElsewhere: activation", "UsesField",
        "AsksWhetherCompiled: data", "SaysMore", "HooksWhileBuilt",
        "PutsGeneratorBack", "CachesParts", "AsksWhatIsThere", "OwnMode", "Middle: jit, buffers", "Middle: jit, traced",
        "InstanceCaches: table", "CachesNestedTable", "Buffers: expanded", "Buffers: meta",
    ),
    ATTRIBUTES: (
        "Caches: identity", "Caches: version", "KeepsAlias", "CountsAndCaches", "HookOnce",
        "CopiesToItself", "CannotBeCopied",
        "Counter", "CountsInEvaluation", "ListOfLosses", "RunningTensor", "RunningInPlace", "KeepsAndCounts",
        "KeepsActivations",
        "Queue", "InSubmodule", "InDataclass", "InClosure", "InIterator", "InGenerator", "ChangesForward", "ActNorm",
        "ActNormByData", "LazyBuffer", "GrowingBuffer", "OwnGenerator", "OwnNumpyGenerator", "OwnPythonGenerator",
        "TeacherAtTimes", "Thaws",
        "Alternates", "WakesLater", "Held: object", "Held: says nothing", "Held: leaves out", "Held: slots",
        "Held: view", "Held: shared memory", "Held: coroutine", "Held: partial", "Held: script", "OnParameter",
        "OnTensor", "EqualParts", "Held: awaited", "Held: mapped", "Held: shown", "Held: class", "Held: executed",
        "Held: cell", "Held: view of a dict", "Toggles: attribute", "Toggles: lock", "Held: future",
        "Held: text in memory", "Held: one of a kind", "ForgetsInCopies", "CountsPart",
    ),
    NOT_SEEN: (
        "Held: database",
    ),
    DEEP: (
        "DeepChain",
    ),
    COMPILES: (
        "Compiles: part", "Compiles: function",
    ),
    ITERATES: (
        "Held: array's iterator",
    ),
    POINTS: (
        "Held: pointed",
    ),
    THREADS: (
        "SeesNumbers: thread", "SeesNumbers: waiting thread",
    ),
    CATCHES: (
        "CatchesErrors", "SuppressesErrors", "CatchesAll: except", "CatchesAll: finally", "CatchesBy: name",
        "CatchesBy: list", "CatchesBy: many", "CatchesBy: second", "CatchesBy: exit", "CatchesBy: stack",
        "CatchesBy: generator", "CatchesBy: turn", "CatchesBy: index",
    ),
    CACHES: (
        "CachesZeros",
    ),
    OUTSIDE: (
        "Toggles: global",
        "InClass", "InClassList", "InGlobal", "InGlobalDict", "NewGlobal", "CountsInstances", "GlobalGenerator",
        "GlobalTorchGenerator", "InNestedClass", "InPrivateGlobal", "InBackward",
        "FirstBatchInGlobal", "InAlias", "InWeakKeys", "in_made_class", "TogglesName: function", "TogglesName: static",
        "TogglesName: class",
    ),
    ELSEWHERE: (
        "InLayerOfTorch", "HooksAll",
    ),
    FOREIGN: (
        "InForeign: module class", "InForeign: tensor", "InForeign: optimizer", "InForeign: sys", "InForeign: init",
        "InForeignList", "InForeign: function", "InForeign: method",
    ),
    IN_MATH: (
        "InOtherModule",
    ),
    IN_TORCH: (
        "PatchesTorch",
    ),
    DTYPE: (
        "DefaultDtype",
    ),
    AUTOCAST: (
        "SetsAutocast",
    ),
    EVALUATION: (
        "Grows", "MaxNorm", "EmbeddingMaxNorm", "CountsMeasured",
    ),
    DRAWN: (
        "SeedInAttribute", "SeedInList", "SharedMemory",
    ),
    DIFFERS: (
        "DecoratedByAutocast", "ListedParameters", "Functions: gumbel", "Functions: permutation",
        "Functions: bernoulli", "BufferByAnotherName",
    ),
    HOOKS: (
        "ParameterHook", "RareParameterHook", "BackwardHook", "BackwardPreHook", "AccumulateHook",
        "OptimizerInBackward", "ForwardHook", "ForwardPreHook", "FeaturesByHook", "FeaturesInClosure",
        "WeightNormHook", "SpectralNormHook",
    ),
    GRADIENTS: (
        "TensorHook", "NodeHook", "FreezesLater", "Functions: gradient inside", "Functions: grad transform",
    ),
    WEIGHTS: (
        "Teacher",
        "ActNormByBuffer",
    ),
    DRAWS: (
        "PythonRandom", "NumpyRandom", "LayerDropByRandom", "DrawsByName", "DrawsFromCopy",
    ),
    READS: (
        "LayerDrop", "Experts", "Restless", "Functions: one_hot",
        "Functions: multinomial", "Functions: distribution", "Functions: item", "Functions: isfinite",
        "Functions: numpy", "SeesNumbers: list", "SeesNumbers: numpy", "SeesNumbers: method", "SeesNumbers: dlpack",
        "SeesNumbers: text", "SeesNumbers: seed", "SeesNumbers: generator's seed", "SeesNumbers: memory",
        "AsksWhetherCompiled: weights", "AsksWhetherCompiled: half", "AsksWhetherCompiled: itself",
        "AsksWhetherCompiled: draws", "AsksWhetherCompiled: keeps",
        "HooksByBuffer", "SeesPacked",
    ),
}
# fmt: on
TABLE = {name: why for why, names in WHY.items() for name in names}
REFUSED = {
    "InFunction": "training changes what constructs.scaled holds",
    "InDefault": "training changes what constructs.InDefault.forward holds",
    "ComplexParameter": "has the complex parameter w",
    "LazyLayer": "leaves the shape of a.weight open",
    "LazyNorm": "leaves the shape of norm.running_mean open",
    "Entropy": "built from one seed, train differently: there is a difference of .* in loss at step 0",
    "EntropyAndCache": "built from one seed, train differently: there is a difference of .* in loss at step 0",
    "EntropyAtFirst": "starts from other weights each time it is built from one seed",
    "the_same": "returns what it returned before",
    "UsesCounter": "training changes what constructs.COUNTER holds",
    "SharesElsewhere: layer": "returns a Linear within that it returned before",
    "SharesElsewhere: counter": "returns a CountsCalls within that it returned before",
    "SharesElsewhere: settling": "returns a Settles within that it returned before",
    "FreezesAll": "the model itself freezes every parameter of the model",
    "InStatic": "training changes what constructs.InStatic.counted holds",
    "InCache": "training changes what constructs.box keeps in its cache",
    "InContext": "training changes what constructs.CONTEXT holds",
    "InThread": "training changes what constructs.THREAD holds",
    "InEnvironment": "training changes the environment's variables",
    "Consumes": "is changed by being evaluated, and cannot be copied for it",
    "EvaluatesAfter": "train differently: .* at step 1",
    "KeepsFloat": "holds kept.weight in float32, and weights are trained in float64",
    "CastsItself": "holds middle.weight in float32, and weights are trained in float64",
    "BuiltSmaller": r"is built with other sizes at other times: a.weight \[8, 64\], then \[4, 64\]",
    "CountsModes": r"train\(\) of constructs.CountsModes changes what it holds",
    "ReadsGradients": "asks for gradients in its forward pass",
    "AddsGradients": "adds to gradients in its forward pass",
    "CachesOwn: module": "constructs.CachesOwn.of_module keeps in its cache what it makes of the model's weights",
    "CachesOwn: bounded": "constructs.CachesOwn.of_some_modules keeps in its cache",
    "CachesOwn: weight": "constructs.norm_of keeps in its cache",
    "CachesDrawn": "what constructs.drawn keeps in its cache is another for each trial",
    "CountsInQueue": "is changed by being evaluated, and cannot be copied for it",
    "InstanceCaches: weights": "a function within constructs.InstanceCaches keeps in its cache",
    "InstanceCaches: box": "a function within constructs.InstanceCaches keeps in its cache",
    "CachesNested": "training changes what constructs.TOOLS keeps in its cache",
    "Branches": "the model calls torch.cond",
    "InOneOfAKind": "training changes what constructs.ONE holds",
    "OnMeta": "has the parameter template.weight on the meta device",
    "HidesParameters": r"has other parameters\(\) than named_parameters\(\)",
}
# fmt: off
QUICK = (
    "Checkpointed", "CheckpointedMiddle", "CheckpointedBatchNorm", "Counter", "CountsInEvaluation", "ListOfLosses",
    "RunningTensor", "KeepsAndCounts", "KeepsActivations",
    "InClosure", "InGenerator", "InClass", "InClassList", "InGlobal",
    "NewGlobal", "CountsInstances", "Grows", "SeedInAttribute", "ListedParameters", "ComplexBuffer", "ParameterHook",
    "TensorHook", "NodeHook", "BackwardHook", "AccumulateHook", "OptimizerInBackward", "FeaturesByHook", "ActNorm",
    "ActNormByData", "LazyBuffer", "GrowingBuffer", "MaxNorm", "PythonRandom", "NumpyRandom", "AlwaysDropout",
    "OwnGenerator", "GlobalTorchGenerator", "Unused", "LayerDrop", "WakesLater", "Experts", "SparseGradient", "Gate",
    "Empty", "SparseBuffer", "Tied", "TiedModules", "Normed", "Functions: written into zeros", "CachesEvaluated",
    "SharesActivation", "UsesField", "Functions: written into torch.zeros", "Functions: old function",
    "Functions: dropout turned round",
    "Sequences: LSTM, dropout", "Sequences: encoder layer, as it is", "SpectralParametrized",
    "Held: leaves out", "Held: coroutine", "Held: script", "OnParameter", "InNestedClass", "HooksAll", "PatchesTorch",
    "DefaultDtype", "FillsRegister", "FirstBatchInGlobal", "SeesNumbers: list", "SeesNumbers: seed", "FrozenNorm",
    "FrozenFirst", "FrozenMiddle", "Teacher", "TeacherAtTimes", "Thaws", "ImportsInside",
    "MaskBuffer", "InAlias", "DrawsByName", "GeneratorInside", "OwnOperation",
    "InForeignList", "TrainReturnsNothing", "Held: database",
    "CopiesToItself", "CannotBeCopied", "DecoratedByAutocast", "EqualParts",
    "WritesInput: evaluation", "WritesInput: both", "CountsAndCaches", "Caches: version",
    "HookOnce", "Toggles: attribute", "Toggles: global", "BufferByAnotherName", "PutsGeneratorBack", "CountsMeasured",
    "CatchesErrors", "Held: array's iterator", "SeesNumbers: generator's seed", "SeesNumbers: thread", "CachesParts",
    "CatchesAll: except", "SaysMore", "HooksWhileBuilt",
    "AsksWhetherCompiled: data", "AsksWhetherCompiled: weights", "AsksWhetherCompiled: half",
    "CachesZeros", "Held: future", "ForgetsInCopies", "DeepChain", "Middle: jit, buffers",
    "InstanceCaches: table", "TogglesName: function", "TogglesName: static", "SeesPacked", "Buffers: expanded",
    "CountsPart", "Held: one of a kind",
)
# fmt: on


@pytest.fixture(scope="module", autouse=True)
def _project(constructs):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(constructs)
        yield


def trials_of(trial_of, name, optimizer="adamw", lrs=(0.003, 0.01, 0.03), **more):
    """Trials of `Class` or `Class: kind`."""
    target, _, kind = name.partition(": ")
    model = ModelTarget(_target_=f"constructs.{target}", arguments=(("kind", kind),) if kind else ())
    configs = [trial_of(lr, 0.05, optimizer=optimizer, **{**USUAL, **more}).config for lr in lrs]
    return [Trial(replace(config, model=model)) for config in configs]


def seed_all(key):
    torch.manual_seed(key)
    np.random.seed(key % 2**32)
    random.seed(key)


def built_anew(trial, extent):
    """The model as a new process would build it. Its code goes when it does: some of torch's registers keep classes."""
    spec = importlib.util.spec_from_file_location(f"reference{next(NUMBER)}", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    build = getattr(module, trial.config.model.name.partition(".")[2])
    torch.manual_seed(key := stream_key(trial.config.seed, "init"))
    np.random.seed(key % 2**31)
    random.seed(key % 2**31)
    takes = inspect.signature(build).parameters
    sizes = {"inputs": extent.features, "outputs": extent.outputs, **dict(trial.config.model.arguments)}
    net = build(**{name: size for name, size in sizes.items() if name in takes}).double()
    weakref.finalize(net, vars(module).clear)
    return net


@contextmanager
def as_a_new_process():
    """Where nothing has yet been left with torch or `math`, and nothing is left."""
    hooks, tanh, dtype = torch.nn.modules.module._global_forward_hooks, torch.tanh, torch.get_default_dtype()
    try:
        yield
    finally:
        hooks.clear()
        torch.tanh = tanh
        torch.set_default_dtype(dtype)
        torch.set_autocast_enabled("cpu", False)
        classes = torch.nn.Linear, torch.nn.Module, torch.Tensor, torch.optim.SGD
        for holder in (*classes, math, sys, torch.nn.init, functional.relu, torch.nn.Linear.forward):
            for name in {"calls", "calls_here"} & {*vars(holder)}:
                delattr(holder, name)


@as_a_new_process()
def plain(trial, splits, extent):
    """A training as a script has it: losses, and the validation loss at the end."""
    config, data = trial.config, splits["train"]
    net = built_anew(trial, extent)
    if config.optimizer.name == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(net.parameters(), lr=1.0, weight_decay=0.05)
    else:
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, weight_decay=0.05)
    losses = []
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, data.rows)):
        optimizer.param_groups[0]["lr"] = config.optimizer.lr * float(warmup_cosine(t, STEPS, 3, 0.0))
        x, y = data.take(torch.as_tensor(rows))
        seed_all(stream_key(config.seed, "forward", t))
        net.train()
        loss = functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        for parameter in net.parameters():
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    return losses, measured(net, config.seed, splits["val"])


@torch.no_grad()
def measured(net, seed, data):
    seed_all(stream_key(seed, "evaluate"))
    parts = [(functional.cross_entropy(net(x.clone()), y).item(), len(x)) for x, y in data.chunks(rows_at_once(data))]
    return sum(loss * n for loss, n in parts) / sum(n for _, n in parts)


def as_plain(observed, expected):
    losses, val = expected
    np.testing.assert_allclose(observed.series["train/batch_loss"].values, losses, rtol=1e-10)
    assert observed.metrics["val/loss"] == pytest.approx(val, rel=1e-10)


def agrees(trial_of, name, optimizer) -> str:
    """Train as chosen and in the loop, hold both against plain torch, and return why it was not fused, if so."""
    trials = tuple(trials_of(trial_of, name, optimizer))
    workload = prepared(trials[0].config, CPU)
    choice, _ = choose(workload, Question(trials, "shared", "traced"))
    for executor in {"loop", choice.executor}:
        together = train(Cohort(trials, executor, "shared", 3), workload)
        for place in (1, 2):
            as_plain(together[place], plain(trials[place], workload.splits, workload.extent))
        (alone,) = train(Cohort(trials[1:2], executor, "shared", 7), workload)
        assert (alone.weight_hash, alone.metrics) == (together[1].weight_hash, together[1].metrics)
    return choice.reason if choice.executor == "loop" else FUSES


def vmap_writes_by_mask():
    try:
        torch.func.vmap(lambda h: h.clone().__setitem__(h > 0, 0.0) or h)(torch.ones(2, 2))
    except RuntimeError:  # torch 2.11 has no rule for it
        return False
    return True


def expected(name, reason):
    """Whether it is the reason that the table has. Checkpoints of torch 2.11 hook gradients, which is found first."""
    why = VMAP if name == "Functions: by mask" and not vmap_writes_by_mask() else TABLE[name]
    return why in reason or (name.startswith("Checkpointed") and GRADIENTS in reason)


@pytest.mark.long
@pytest.mark.parametrize(("optimizer", "name"), [(("adamw", "sgd")[i % 2], name) for i, name in enumerate(QUICK)])
def test_it_trains_as_in_a_plain_torch_loop(trial_of, optimizer, name) -> None:
    assert expected(name, agrees(trial_of, name, optimizer))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("name", TABLE)
def test_whatever_it_does_it_trains_as_in_a_plain_torch_loop(trial_of, optimizer, name) -> None:
    assert expected(name, agrees(trial_of, name, optimizer))


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_train_otherwise_is_refused_in_a_sentence(trial_of, name) -> None:
    with pytest.raises(ConfigError, match=REFUSED[name]):
        prepared(trials_of(trial_of, name)[0].config, CPU)


@pytest.mark.parametrize(
    ("ours", "plain", "expected"),
    [(math.inf, math.inf, 0), (math.nan, math.nan, 0), (math.nan, 0, math.inf), (-math.inf, math.inf, math.inf)],
)
def test_what_is_not_finite_in_both_alike_is_no_deviation(ours, plain, expected) -> None:
    ours, plain = ({"": torch.tensor([1.0, each])} for each in (ours, plain))
    assert deviation(ours, plain) == expected


@pytest.mark.parametrize("name", WHY[CATCHES])
def test_who_catches_what_torch_raises_is_found_out_before_it_does(trial_of, name) -> None:
    assert CATCHES in (prepared(trials_of(trial_of, name)[0].config, CPU).habits.alone or "")


MIXES = {
    "Sequences: encoder layer, as it is": True,  # takes the batch for places
    "Mixing: LSTM of a batch": True,
    "Mixing: softmax over the batch": True,
    "Mixing: centred on the batch": True,
    "Middle: BatchNorm1d, no statistics": True,
    "Sequences: LSTM, both ways": False,
    "Middle: BatchNorm1d": False,
    "Sequences: encoder": False,
    "AlwaysDropout": False,
    "CountsInEvaluation": False,
    "Grows": False,
    "Experts": False,
}


@pytest.mark.parametrize("name", MIXES)
def test_a_model_that_mixes_examples_is_found_out(trial_of, name) -> None:
    assert prepared(trials_of(trial_of, name)[0].config, CPU).habits.mixes == MIXES[name]


@pytest.mark.parametrize(("name", "draws"), [("PutsGeneratorBack", True), ("GeneratorInside", False), ("Plain", False)])
def test_who_draws_and_puts_the_generator_back_is_found_out(trial_of, name, draws) -> None:
    """Else trials of several seeds would share a pass, and the first one's numbers."""
    assert prepared(trials_of(trial_of, name)[0].config, CPU).habits.draws == draws


def test_what_another_model_caches_is_not_this_ones(trial_of) -> None:
    alone = [prepared(trials_of(trial_of, n)[0].config, CPU).habits.alone for n in ("CachesZeros", "CachesEvaluated")]
    assert alone == ["keeps tensors in a cache, and writes into tensors that it makes", None]
