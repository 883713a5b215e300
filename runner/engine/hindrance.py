"""Why vmap or a CUDA graph cannot take a model, in a sentence: where in the user's code, what is there, what could be.

What torch says of it is long, speaks of its own insides, and asks for a report to its authors.
"""

from __future__ import annotations

import re

from thalweg.runner.base.errors import first_line
from thalweg.runner.engine.user import place_of

FUSABLE = (
    (r"\.item\(\)|data-dependent control flow|bool\(\)|__bool__", "Python reads a number of a tensor (.item(), if, "
     "float()); torch.where, or arithmetic on tensors, would be fused"),
    (r"dynamic shape|nonzero|masked_select", "a boolean mask or nonzero() selects as many elements as the numbers say; "
     "torch.where(mask, a, b), or multiplying by the mask, would be fused"),
    (r"in-?place arithmetic|inplace|broadcast shape", "a tensor that all trials share is written to; one made "
     "from the input, as by x.new_zeros(…), or torch.cat and torch.stack, would be fused"),
    (r"setup_context|generate_vmap_rule|vmap staticmethod", "an autograd.Function without a batching rule; with "
     "setup_context and generate_vmap_rule = True it would be fused"),
    (r"accessing `data`", "a tensor's .data is used; .detach(), or torch.no_grad() where weights are written, would be "
     "fused"),
    (r"torch\.func\.\{?grad|saved tensor hooks|checkpoint", "it recomputes in the backward pass; without checkpointing "
     "it would be fused"),
    (r"may have escaped", "it computes outside of its forward pass, in a thread or anew in the backward pass; without "
     "threads and checkpointing it would be fused"),
    (r"random", "it draws random numbers in a way that cannot be batched; torch.rand and torch.randn of a fixed shape, "
     "or nn.Dropout, would be fused"),
    (r"[Ss]parse", "it uses sparse tensors or gradients; dense ones would be fused"),
    (r"numpy|storage|data_ptr|deepcopy", "it leaves torch for the numbers of a tensor (numpy(), data_ptr()); torch's "
     "own functions would be fused"),
    (r"Batching rule not implemented for (\S+?)[;,. ]", "torch has no batched form of {0}"),
)  # fmt: skip
"""(what torch's words have in them, what that means for who wrote the model)."""

WAITS = (
    "Python waits there for the GPU, as for .item(), a boolean mask, a check of torch.linalg, or a tensor that is made "
    "or kept on the host and sent there; a registered buffer, or arithmetic on tensors, could be captured"
)


def hindrance(error: BaseException) -> str:
    """Say what of a model cannot be fused, and where it is."""
    said = " ".join(str(error).split())
    for pattern, meaning in FUSABLE:
        if found := re.search(pattern, said):
            return f"vmap cannot take this model: {place_of(error)}{meaning.format(*found.groups())}"
    return f"vmap cannot take this model: {place_of(error)}{_short(error)}"


def uncaptured(error: BaseException) -> str:
    """Say why no CUDA graph holds a step, and where: what capturing says last speaks of an error before it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    said = WAITS if "capturing" in str(error) else _short(error)
    return f"a CUDA graph cannot hold its step: {place_of(error)}{said}"


def _short(error: BaseException) -> str:
    """The first sentence of what an error says, without what torch asks to be done about it."""
    line = re.split(r"(?<=[.;])\s|, please |Please ", first_line(error))[0].rstrip(" .;,")
    return line or type(error).__name__
