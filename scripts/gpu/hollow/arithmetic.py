"""Lets the hollow device compute: what its kernels would have written is written, by the CPU's.

    sh scripts/gpu/hollow/build.sh FOLDER
    LD_LIBRARY_PATH=FOLDER LD_PRELOAD=FOLDER/libfake.so TORCH_CUDNN_V8_API_DISABLED=1 \\
        PYTHONPATH=src:scripts:scripts/gpu/hollow python -P -m pytest -p arithmetic -m gpu tests/runner/engine

Or `import arithmetic` before the first tensor. The device's memory is the host's (memory.cpp), so that each tensor
there has a twin: a tensor of the host at the same address. Each operation that has a kernel for CUDA and one for the
CPU is given the twins. While a graph is captured nothing is computed: the operation goes to the graph's tape with its
addresses, and each launch computes the tape. What a copy brings that nobody waited for is NaN until somebody waits.
Triton's programs are run by its interpreter (interpreted.py).

It proves what the host makes of the numbers: which operations, of which memory, in which order; that a graph is the
step and not the one step it was captured at; that nothing it needs was given away. It says nothing of a GPU's own
kernels: how they round, how fast they are, what other streams see of them. cuDNN is off, attention is written out, and
sparse tensors end in a segmentation fault (cuSPARSE asks the driver for more than there is).
Random numbers are others than a GPU's; they depend on the generator's seed and place as a GPU's do.
"""

from __future__ import annotations

import ctypes
import getpass
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import interpreted  # type: ignore[import-not-found]
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = "cuda:0"
HOST_ONLY = ("empty", "empty_strided", "as_strided", "view", "resize_", "set_", "record_stream", "_fused_sdp_choice")
"""Operations without a kernel: torch's own code for CUDA does them."""
COMPOSED = ("copy_", "convolution", "convolution_backward")
"""Operations that choose a kernel of the device by themselves, unless there is one of theirs."""
CHECKS = ("aten::_linalg_check_errors",)
"""Operations that raise for what the device found."""
OF_HOST = ("indices", "lengths")
"""Arguments that may lie on the host, whatever their shape."""
PLACES = 4
"""By how much a generator's place moves: torch wants a multiple of four."""
MIXER = 1_000_003
"""A prime, so that a generator's seeds and places do not meet."""
tapes: list[list[Callable[[], object]]] = []
"""Those of the graphs under capture, the last of which is written."""
coming: list[Callable[[], object]] = []
"""Copies to pinned memory that nobody has waited for."""


def twin(tensor: Tensor) -> Tensor:
    """The host's tensor of the same memory; what lies on the host is its own."""
    if not tensor.is_cuda:
        return tensor
    storage, size = tensor.untyped_storage(), tensor.element_size()
    if not tensor.numel():
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    raw = (ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())
    flat = torch.frombuffer(raw, dtype=tensor.dtype, count=storage.nbytes() // size)
    return flat.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def put(work: Callable[[], object]) -> None:
    """Do a piece of work, now or at each launch of the graph under capture."""
    if torch.cuda.is_current_stream_capturing():
        tapes[-1].append(work)
    else:
        work()


def wait() -> None:
    """Wait for the device: all copies have arrived. RuntimeError in a capture, and where torch was told to raise."""
    if torch.cuda.is_current_stream_capturing():
        torch.cuda.current_stream().synchronize()  # the runtime refuses
    if torch.cuda.get_sync_debug_mode() == 2:
        raise RuntimeError("called a synchronizing CUDA operation")
    arrive()


def arrive() -> None:
    """Let all copies arrive."""
    for copy in coming:
        copy()
    coming.clear()


class Operation:
    """An operation of torch on the device, by the CPU's kernel."""

    def __init__(self, op: Any) -> None:
        arguments = op._schema.arguments
        self.op, self.names = op, [each.name for each in arguments]
        self.numbers = [place for place, each in enumerate(arguments) if str(each.type) == "Tensor"]
        self.outs = [each.name for each in arguments if each.is_out]
        written = {place: each.alias_info for place, each in enumerate(arguments) if _is_written(each.alias_info)}
        self.written = [*written]
        self.returned = [
            next((place for place, info in written.items() if _share(of.alias_info, info)), None)
            for of in op._schema.returns
        ]
        self.draws = torch.Tag.nondeterministic_seeded in op.tags
        told = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & {*op.tags}
        numbers = any("Tensor" not in str(of.type) for of in op._schema.returns)
        self.told = bool(told) or numbers or op._schema.name in CHECKS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute, or note on the tape; return tensors of the device."""
        self._refuse_host(args, kwargs)
        if self._tells(args, kwargs):
            wait()
        self._make_room(args, kwargs)
        own_args, own_kwargs = tree_map_only(Tensor, twin, (args, kwargs))
        if not torch.cuda.is_current_stream_capturing():
            made = self._drawn(own_args, own_kwargs) if self.draws else self._computed(own_args, own_kwargs)
            self._count_writes(args, kwargs)
            answer = self._answer(made, args, kwargs)
            _write(tree_map_only(Tensor, twin, self._fresh(answer)), self._fresh(made))
            return answer
        if self.draws:
            raise RuntimeError(f"{self.op} draws random numbers in a capture, which is not made up here")
        answer = self._answer(self._computed(*tree_map_only(Tensor, _shape, (own_args, own_kwargs))), args, kwargs)
        places = tree_map_only(Tensor, twin, self._fresh(answer))
        tapes[-1].append(lambda: _write(places, self._fresh(self._computed(own_args, own_kwargs))))
        return answer

    def _refuse_host(self, args: Any, kwargs: Any) -> None:
        """Raise as torch does for a tensor of the host: only a single number that is read may lie there."""
        for place, name in enumerate(self.names):
            for each in tree_leaves(self._argument(place, args, kwargs)) if name not in OF_HOST else ():
                if isinstance(each, Tensor) and not each.is_cuda and (each.dim() or place in self.written):
                    said = f"found at least two devices, {DEVICE} and {each.device}!"
                    raise RuntimeError(f"Expected all tensors to be on the same device, but {said} ({self.op}: {name})")

    def _count_writes(self, args: Any, kwargs: Any) -> None:
        """Let tensors of a list know that they were written into, which for others torch does before the kernel."""
        if self.op._schema.name.startswith("aten::_foreach"):
            written = (self._argument(place, args, kwargs) for place in self.written)
            torch.autograd.graph.increment_version([each for each in tree_leaves([*written]) if each is not None])

    def _make_room(self, args: Any, kwargs: Any) -> None:
        """Give outputs that have none yet the room that they need."""
        lacking = [name for name in self.outs if not kwargs[name].numel()]
        if lacking:
            like_args, like = tree_map_only(Tensor, _shape, (args, kwargs))
            like |= {name: torch.empty(0, dtype=kwargs[name].dtype, device="meta") for name in lacking}
            self._computed(like_args, like)
            for name in lacking:
                kwargs[name].resize_(like[name].shape)

    def _tells(self, args: Any, kwargs: Any) -> bool:
        """Whether the host waits for the device: for its numbers, as those of a mask, or to send it an index."""
        if "indices" not in self.names:
            return self.told
        indices = tree_leaves(self._argument(self.names.index("indices"), args, kwargs))
        tensors = [each for each in indices if isinstance(each, Tensor)]
        return any(each.dtype in (torch.bool, torch.uint8) or not each.is_cuda for each in tensors)

    def _computed(self, args: Any, kwargs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            if any(isinstance(self._argument(place, args, kwargs), int | float | complex) for place in self.numbers):
                return self.op.overloadpacket(*args, **kwargs)  # a number that was taken out of its tensor
            return self.op(*args, **kwargs)

    def _drawn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What it draws by the device's generator, whose place moves on."""
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, torch.Generator)]
        generator = given[0] if given else torch.cuda.default_generators[0]
        if generator.device.type != "cuda":
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found '{generator.device.type}'")
        place = generator.get_offset()
        generator.set_offset(place + PLACES)
        args = tuple(None if isinstance(each, torch.Generator) else each for each in args)
        kwargs = {name: each for name, each in kwargs.items() if not isinstance(each, torch.Generator)}
        state = torch.get_rng_state()
        torch.default_generator.manual_seed((generator.initial_seed() * MIXER + place) % 2**63)
        try:
            return self._computed(args, kwargs)
        finally:
            torch.set_rng_state(state)

    def _argument(self, place: int, args: Any, kwargs: Any) -> Any:
        return args[place] if place < len(args) else kwargs.get(self.names[place])

    def _answer(self, made: Any, args: Any, kwargs: Any) -> Any:
        """Tensors of the device as `made`, and its own arguments where it wrote into them."""
        if not self.returned:
            return None
        several = made if isinstance(made, tuple) else (made,)
        found = tuple(
            tree_map_only(Tensor, lambda each: _empty_like(each, DEVICE), each)
            if place is None
            else self._argument(place, args, kwargs)
            for each, place in zip(several, self.returned, strict=True)
        )
        return found if isinstance(made, tuple) else found[0]

    def _fresh(self, returned: Any) -> list[Any]:
        """Those of what it returns that it made."""
        several = returned if isinstance(returned, tuple) else (returned,)
        return [each for each, place in zip(several, self.returned, strict=False) if place is None]


def _is_written(info: Any) -> bool:
    return info is not None and info.is_write


def _share(one: Any, other: Any) -> bool:
    return one is not None and bool(one.before_set & other.before_set)


def _shape(tensor: Tensor) -> Tensor:
    return _empty_like(tensor, "meta")


def _empty_like(tensor: Tensor, device: str) -> Tensor:
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=device)


def _write(places: Any, made: Any) -> None:
    for place, value in zip(tree_leaves(places), tree_leaves(made), strict=True):
        if isinstance(place, Tensor) and place.numel() and value.numel():
            place.copy_(value)


def _copy(to: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """`copy_`. What nobody waits for is on its way: what was to come holds NaN, or -1, until somebody waits."""
    here, there = twin(to), twin(source)
    if to.is_cuda and source.is_cuda:
        put(lambda: here.copy_(there))
    elif not non_blocking or not (source.is_pinned() if to.is_cuda else to.is_pinned()):
        wait()
        here.copy_(there)
    elif to.is_cuda:
        put(lambda: here.copy_(there))
    else:
        put(lambda: _send(here, there))
    return to


def _send(here: Tensor, there: Tensor) -> None:
    """Begin a copy to the host."""
    now = there.clone()
    here.view(torch.uint8).fill_(255) if here.is_contiguous() and here.dim() else here.fill_(-1)
    coming.append(lambda: here.copy_(now))


# Of what follows the CPU has no kernel: the cells of recurrent layers where there is no cuDNN, and a norm's gradient.


def _lstm(inputs: Tensor, hidden: Tensor, cx: Tensor, *biases: Tensor | None) -> tuple[Tensor, ...]:
    gates = sum((each for each in biases if each is not None), inputs + hidden)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], 1)


def _lstm_backward(
    of_hy: Tensor | None, of_cy: Tensor | None, cx: Tensor, cy: Tensor, workspace: Tensor, biased: bool
) -> tuple[Tensor | None, ...]:
    i, f, g, o = workspace.chunk(4, 1)
    bent = cy.tanh()
    of_hy = torch.zeros_like(cy) if of_hy is None else of_hy
    through = of_hy * o * (1 - bent * bent) + (0 if of_cy is None else of_cy)
    of_i, of_f, of_g = through * g * i * (1 - i), through * cx * f * (1 - f), through * i * (1 - g * g)
    gates = torch.cat([of_i, of_f, of_g, of_hy * bent * o * (1 - o)], 1)
    return gates, through * f, gates.sum(0) if biased else None


def _gru(
    inputs: Tensor, hidden: Tensor, hx: Tensor, bias: Tensor | None = None, hidden_bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    if bias is not None and hidden_bias is not None:
        inputs, hidden = inputs + bias, hidden + hidden_bias
    (ir, iz, own), (hr, hz, kept) = inputs.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (ir + hr).sigmoid(), (iz + hz).sigmoid()
    n = (own + r * kept).tanh()
    return n + z * (hx - n), torch.cat([r, z, n, hx, kept], 1)


def _gru_backward(of_hy: Tensor, workspace: Tensor, biased: bool) -> tuple[Tensor | None, ...]:
    r, z, n, hx, kept = workspace.chunk(5, 1)
    of_z, of_n = of_hy * (hx - n) * (1 - z) * z, of_hy * (1 - z) * (1 - n * n)
    of_r = of_n * kept * (1 - r) * r
    inputs, hidden = torch.cat([of_r, of_z, of_n], 1), torch.cat([of_r, of_z, of_n * r], 1)
    return inputs, hidden, of_hy * z, inputs.sum(0) if biased else None, hidden.sum(0) if biased else None


def _rms_norm_backward(
    of_out: Tensor, x: Tensor, shape: list[int], rstd: Tensor, weight: Tensor | None, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    last, first = list(range(-len(shape), 0)), list(range(x.dim() - len(shape)))
    unit = x * rstd
    through = of_out if weight is None else of_out * weight
    of_x = rstd * (through - unit * (through * unit).mean(last, keepdim=True))
    return of_x, (of_out * unit).sum(first) if wanted[1] else None


OWN: dict[str, Callable[..., Any]] = {
    "copy_": _copy,
    "_thnn_fused_lstm_cell": _lstm,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_backward,
    "_thnn_fused_gru_cell": _gru,
    "_thnn_fused_gru_cell_backward": _gru_backward,
    "_fused_rms_norm_backward": _rms_norm_backward,
}


def _kernels(library: Any) -> None:
    """Register an operation for each kernel that torch has for CUDA, and for the CPU."""
    of_cuda = (name.partition("::") for name in torch._C._dispatch_get_registrations_for_dispatch_key("CUDA"))
    for name in sorted({*COMPOSED, *(name for space, _, name in of_cuda if space == "aten")}):
        base, _, overload = name.partition(".")
        if base in HOST_ONLY or base in OWN or not _has_kernel(name):
            continue
        op = getattr(getattr(torch.ops.aten, base), overload or "default")
        if not any(of.alias_info and not of.alias_info.is_write for of in op._schema.returns):  # no view
            library.impl(name, Operation(op), "CUDA")
    for name, function in OWN.items():
        library.impl(name, function, "CUDA")


def _has_kernel(name: str) -> bool:
    return torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"aten::{name}", "CPU")


def _graphs() -> None:
    """Give each graph a tape."""
    graph: Any = torch.cuda.CUDAGraph
    begin = graph.capture_begin

    def capture_begin(self: Any, *args: Any, **kwargs: Any) -> None:
        self.tape = []
        tapes.append(self.tape)
        begin(self, *args, **kwargs)

    def replay(self: Any) -> None:
        for work in self.tape:
            work()

    graph.capture_begin, graph.replay = capture_begin, replay


def _waits() -> None:
    """Let copies arrive where a script waits for the device."""

    def waiting(function: Callable[..., Any]) -> Callable[..., Any]:
        def waited(*args: Any, **kwargs: Any) -> Any:
            arrive()
            return function(*args, **kwargs)

        return waited

    cuda: Any = torch.cuda
    for holder in (cuda.Event, cuda.Stream, cuda):
        holder.synchronize = waiting(holder.synchronize)


def _unseen() -> None:
    """Let torch's compiler, which looks at all Python that is called, pass over what is written here."""
    frames = torch._C._dynamo.eval_frame
    skip = frames._FrameExecStrategy(frames._FrameAction.SKIP, frames._FrameAction.SKIP)
    for function in (Operation.__call__, *OWN.values()):
        frames.set_code_exec_strategy(function.__code__, skip)


def left_hollow() -> list[str]:
    """The kernels that were launched all the same, and computed nothing: there must be none."""
    with tempfile.NamedTemporaryFile("r") as file:
        ctypes.CDLL(None).fake_print(file.name.encode(), 1)
        return [line.strip() for line in file.read().splitlines() if line.startswith(("kernel ", "memset"))]


def pytest_sessionfinish(session: Any) -> None:
    """A session in which a kernel computed nothing has failed."""
    if found := left_hollow():
        print(f"\nnot computed: {found}")
        session.exitstatus = 3


LIBRARY: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is one already
    _kernels(LIBRARY)
_graphs()
_waits()
_unseen()
interpreted.prepare(twin, put)
# What torch's compiler sets as it is imported, which here asking for shapes does: a model would seem to have done it.
os.environ.setdefault(
    "TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}")
)
torch.backends.cudnn.enabled = False
torch.backends.cuda.enable_flash_sdp(False)
torch.backends.cuda.enable_mem_efficient_sdp(False)
torch.backends.cuda.enable_cudnn_sdp(False)
