"""Records what a function of tensors does as a flat list of torch operations that can be run again, or compiled.

What make_fx does, without the compiler behind it, whose import takes 2 s in every worker; recording takes as long as
running. Python's part of the function is gone from the recording: its numbers, its branches, its state. Knows nothing
of training.
"""

from __future__ import annotations

import operator
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

aten = torch.ops.aten
ALIASES = (aten.detach.default, aten.alias.default)
"""Operations of autograd's bookkeeping alone: their result is their argument."""
UNSEEN = "profiler"
"""Operations by this name do nothing but let profilers know."""
PLAIN = (int, float, complex, str, torch.dtype, torch.device, torch.layout, torch.memory_format, type(None))
"""What a program's text can say of an operation's arguments, bool being an int."""
READS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
UNMARKED = {aten._pack_padded_sequence.default}
"""Marks of operations whose result Python may branch on, and a recording would not; and those that bear none."""


def reads(func: Any, args: Any) -> bool:
    """Whether Python learns something of a tensor's numbers from an operation's result."""
    if func is aten.index.Tensor:  # unlike a mask, row numbers say beforehand how many rows there will be
        return any(each.dtype in (torch.bool, torch.uint8) for each in args[1] if each is not None)
    return bool(READS & {*func.tags}) or func in UNMARKED


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation that reaches a kernel. It keeps no tensor alive but the constants.

    A tensor is known by its id as long as it lives, and forgotten when it dies, so that no two share one: kept, they
    took 2.6 to 3.6 times the memory of the step.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.constants: dict[str, Any] = {}
        self.reads_values = False
        self.varying = {None, *(memory_of(tensor) for tensor in inputs)}
        self.nodes: dict[int, fx.Node] = {}
        self.living: dict[int, weakref.ref[Tensor]] = {}
        for i, tensor in enumerate(inputs):
            self._name(tensor, self.graph.placeholder(f"in{i}"))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled while recording, and to say yes imports the compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.reads_values |= reads(func, args)
        if func in ALIASES:
            self._name(result, self.node_of(args[0]))
        elif func.namespace != UNSEEN:
            at = tree_map(self._said, (args, kwargs or {}))
            node = self.graph.call_function(func, *at)
            node.meta["varies"] = self._varies((args, kwargs or {}), result)
            self._note(result, node)
        return result

    def _said(self, value: Any) -> Any:
        """How the program names an argument. What its text cannot say (a generator) may be another at the next run."""
        if isinstance(value, Tensor):
            return self.node_of(value)
        if isinstance(value, PLAIN):
            return value
        self.reads_values = True
        return self._constant(value)

    def _constant(self, value: Any) -> fx.Node:
        name = f"constant{len(self.constants)}"
        self.constants[name] = value
        return self.graph.get_attr(name)

    def _varies(self, arguments: Any, result: Any) -> bool:
        """Whether an operation's result depends on the inputs: then all that lies in the same memory does."""
        given = [part for part in tree_leaves(arguments) if isinstance(part, Tensor)]
        if not any(memory_of(each) in self.varying for each in given):
            return False
        self.varying |= {memory_of(part) for part in tree_leaves(result) if isinstance(part, Tensor)}
        return True

    def _note(self, result: Any, node: fx.Node) -> None:
        made = [part for part in tree_leaves(result) if isinstance(part, Tensor)]
        node.meta["numbers"] = [part.numel() for part in made if part.numel() and part.is_floating_point()]
        dense = [part for part in made if part.layout is torch.strided]
        node.meta["bytes"] = 0 if made and made[0]._is_view() else sum(part.nbytes for part in dense)
        if isinstance(result, Tensor):
            self._name(result, node)
        elif isinstance(result, (tuple, list)):
            for i, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._name(part, self.graph.call_function(operator.getitem, (node, i)))

    def _name(self, tensor: Tensor, node: fx.Node) -> None:
        key = id(tensor)
        self.nodes[key] = node
        if key not in self.living:
            self.living[key] = weakref.ref(tensor, lambda _: self._forget(key))

    def _forget(self, key: int) -> None:
        del self.nodes[key], self.living[key]

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Where a tensor comes from; one that no recorded operation made is a constant of the program."""
        if id(tensor) not in self.nodes:
            self._name(tensor, self._constant(tensor))
        return self.nodes[id(tensor)]


class Operation(NamedTuple):
    """An operation by torch's name, how many numbers each of its results has (if floating), and the memory of all.

    varies: whether the recording's inputs go into it, or it has constants alone.
    """

    name: str
    numbers: list[int]
    bytes: int
    varies: bool


class Recording:
    """A function of trees of tensors, as the operations that one run of it did.

    Called with trees of the same make it does them again and returns what the function returned, in place changes
    of its arguments included. reads_values: whether Python saw numbers of a tensor, and may have acted on them, or an
    operation has an argument that may change. `program` takes and returns the trees' tensors as flat lists. result:
    what the recorded run returned, until it is taken.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any]) -> None:
        recorder = _Recorder(_tensors(inputs))
        with recorder:
            self.result = function(*inputs)
            parts, self.make = tree_flatten(self.result)
        self.reads_values = recorder.reads_values
        recorder.graph.output([recorder.node_of(part) for part in parts])
        recorder.living.clear()  # its callbacks hold the recorder
        self.graph = recorder.graph
        self.module = fx.GraphModule(recorder.constants, recorder.graph)
        self.program: Callable[..., list[Tensor]] = self.module.forward

    def take_result(self) -> Any:
        """What the recorded run returned, which is not kept any longer."""
        result, self.result = self.result, None
        return result

    def __call__(self, *inputs: Any) -> Any:
        return tree_unflatten(self.program(*_tensors(inputs)), self.make)

    def timed(self, *inputs: Any) -> dict[str, float]:
        """Run once and return the seconds of each operation of torch, by its name (on a CPU; launches elsewhere)."""
        stopwatch = _Stopwatch(self.module)
        stopwatch.run(*_tensors(inputs))
        return stopwatch.seconds

    def operations(self) -> list[Operation]:
        """The recorded operations of torch, in order."""
        nodes = [node for node in self.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
        return [
            Operation(
                node.target.overloadpacket.__name__, node.meta["numbers"], node.meta["bytes"], node.meta["varies"]
            )
            for node in nodes
        ]


class _Stopwatch(fx.Interpreter):
    """Runs a program operation by operation. (torch's profiler writes to the user's terminal.)"""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__(program)
        self.seconds: dict[str, float] = {}

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        started = time.perf_counter()
        result = super().call_function(target, args, kwargs)
        name = str(target)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        return result


def memory_of(tensor: Tensor) -> StorageWeakRef | None:
    """What names the memory that a tensor lies in, alone or with others; None for one that has no single memory.

    It keeps no number alive, but the name: no other memory takes it as long as this is kept.
    """
    if tensor.layout is not torch.strided:
        return None
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _tensors(tree: Any) -> list[Tensor]:
    """The tensors of a tree of tuples, lists and dicts, in order. torch's tree_leaves took 15 of a step's 520 µs."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
