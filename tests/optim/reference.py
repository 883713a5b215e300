"""Slow references for what torch.optim lacks, from the papers: one weight at a time, in Python floats.

They share no code with optim/. Adam: Kingma & Ba (2015), algorithm 1. Decay: Loshchilov & Hutter (2019),
algorithm 2, with the schedule's multiplier η on both terms. Momentum: Polyak (1964); Sutskever et al. (2013).
"""

import math


def warmup_cosine(step, total, warmup, floor):
    if step < warmup:
        return (step + 1) / warmup
    if step >= total:
        return floor
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def ramp(step, warmup, start=0.0, offset=1):
    return start + (1 - start) * (step + offset) / warmup


def linear(step, total, warmup, floor, start=0.0, offset=1):
    if step < warmup:
        return ramp(step, warmup, start, offset)
    return floor if step >= total else 1 - (1 - floor) * (step - warmup) / (total - warmup)


def constant(step, total, warmup, start=0.0, offset=1):
    return ramp(step, warmup, start, offset) if step < warmup else 1.0


def inverse_sqrt(step, total, warmup, start=0.0, offset=1):
    if step < warmup:
        return ramp(step, warmup, start, offset)
    peak = max(warmup, 1)
    return math.sqrt(peak / max(min(step, total) + offset, peak))


def wsd(step, total, warmup, cooldown, floor, root, start=0.0, offset=1):
    if step < warmup:
        return ramp(step, warmup, start, offset)
    if step >= total:
        return floor
    if step < total - cooldown:
        return 1.0
    way = (step - (total - cooldown)) / cooldown
    return floor + (1 - floor) * (1 - (math.sqrt(way) if root else way))


def one_cycle(step, total, warmup, start, floor):
    top = max(warmup - 1, 0)
    if step >= total:
        return floor
    if step < top:
        return 1 - (1 - start) * 0.5 * (1 + math.cos(math.pi * step / top))
    way = (step - top) / max(total - 1 - top, 1)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * way))


def _decay(weight, decay, lr, weight_decay, eta):
    if decay == "coupled":
        return weight - lr * eta * weight_decay * weight
    if decay == "independent":
        return weight - eta * weight_decay * weight
    return weight


def adam(weight, gradients, etas, *, lr, betas, eps, weight_decay, decay, decay_order="before"):
    """Return the weights after each step."""
    m = v = 0.0
    path = []
    for t, (g, eta) in enumerate(zip(gradients, etas, strict=True), start=1):
        if decay == "l2":
            g = g + weight_decay * weight
        if decay_order == "before":
            weight = _decay(weight, decay, lr, weight_decay, eta)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        corrected = (m / (1 - betas[0] ** t), v / (1 - betas[1] ** t))
        weight = weight - lr * eta * corrected[0] / (math.sqrt(corrected[1]) + eps)
        if decay_order == "after":
            weight = _decay(weight, decay, lr, weight_decay, eta)
        path.append(weight)
    return path


def lion(weight, gradients, etas, *, lr, betas, weight_decay, decay, decay_order="before"):
    """Return the weights after each step. Chen et al. (2023), algorithm 2."""
    m = 0.0
    path = []
    for g, eta in zip(gradients, etas, strict=True):
        if decay_order == "before":
            weight = _decay(weight, decay, lr, weight_decay, eta)
        direction = betas[0] * m + (1 - betas[0]) * g
        weight = weight - lr * eta * ((direction > 0) - (direction < 0))
        m = betas[1] * m + (1 - betas[1]) * g
        if decay_order == "after":
            weight = _decay(weight, decay, lr, weight_decay, eta)
        path.append(weight)
    return path


def sgd(weight, gradients, etas, *, lr, momentum, weight_decay, nesterov, decay, decay_order="before", dampening=0.0):
    """Return the weights after each step."""
    velocity = 0.0
    path = []
    for t, (g, eta) in enumerate(zip(gradients, etas, strict=True)):
        if decay == "l2":
            g = g + weight_decay * weight
        if decay_order == "before":
            weight = _decay(weight, decay, lr, weight_decay, eta)
        velocity = momentum * velocity + (g if t == 0 else (1 - dampening) * g)
        weight = weight - lr * eta * (g + momentum * velocity if nesterov else velocity)
        if decay_order == "after":
            weight = _decay(weight, decay, lr, weight_decay, eta)
        path.append(weight)
    return path
