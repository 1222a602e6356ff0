"""The recurrence in Triton: one program per block of neurons, a loop over all timesteps.

Each timestep is dense in memory, so that neighbouring neurons are read together; potentials
stay in registers. `numbers` are leak, threshold, fire, scale and the two factors of the
surrogate, in double precision on the device: learned or changed values need neither a copy
to the host nor another compilation.

Operations are in the order of the eager body; the caller must forbid the fusion of
multiplications with additions (`enable_fp_fusion=False`). Division is rounded by IEEE 754;
the exponential of the sigmoid is that of the device.

Imported only if Triton is installed (`snn.lif.fused`).
"""

import triton
import triton.language as tl

ATAN = tl.constexpr(0)
TRIANGULAR = tl.constexpr(1)
SIGMOID = tl.constexpr(2)


@triton.jit
def _after_reset(h, fire, threshold, is_hard: tl.constexpr):
    """Return the potential after the reset."""
    fired = tl.where(h >= fire, 1.0, 0.0).to(h.dtype)
    if is_hard:
        left = h * (1 - fired)
    else:
        left = h - fired * threshold
    return left


@triton.jit
def _inverse(x):
    """Return 1 / x, rounded to nearest."""
    if x.dtype == tl.float32:
        out = tl.div_rn(tl.full(x.shape, 1.0, tl.float32), x)
    else:
        out = 1.0 / x
    return out


@triton.jit
def _derivative(x, slope, inner, surrogate: tl.constexpr):
    """Return the derivative of the surrogate; `slope` and `inner` are `constants.factors`."""
    if surrogate == ATAN:
        y = inner * x
        rising = _inverse(1 + y * y) * slope
    elif surrogate == TRIANGULAR:
        y = 1 - slope * tl.abs(x)
        rising = slope * tl.where(y < 0, 0.0, y).to(x.dtype)
    elif surrogate == SIGMOID:
        y = _inverse(1 + tl.exp(-(slope * x)))
        rising = slope * y * (1 - y)
    else:
        y = 1 + slope * tl.abs(x)
        rising = _inverse(y * y)
    return rising


@triton.jit(do_not_specialize=["steps", "current_stride", "spikes_stride", "h_stride"])
def forward(
    current,
    before,
    numbers,
    spikes,
    potentials,
    neurons,
    steps,
    current_stride,
    spikes_stride,
    h_stride,
    has_before: tl.constexpr,
    is_hard: tl.constexpr,
    block: tl.constexpr,
):
    """Compute spikes and potentials h; strides are from one timestep to the next."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = potentials.dtype.element_ty
    leak = tl.load(numbers).to(kind)
    threshold = tl.load(numbers + 1).to(kind)
    fire = tl.load(numbers + 2).to(kind)
    x_at, s_at, h_at = current + at, spikes + at, potentials + at
    left = tl.zeros([block], kind)
    if has_before:
        h = tl.load(before + at, mask=inside, other=0.0)
        left = _after_reset(h, fire, threshold, is_hard)
    for _ in range(steps):
        h = tl.load(x_at, mask=inside, other=0.0).to(kind) + left * leak
        tl.store(h_at, h, mask=inside)
        tl.store(s_at, tl.where(h >= fire, 1.0, 0.0).to(spikes.dtype.element_ty), mask=inside)
        left = _after_reset(h, fire, threshold, is_hard)
        x_at += current_stride
        s_at += spikes_stride
        h_at += h_stride


@triton.jit(do_not_specialize=["steps", "spikes_stride", "h_stride", "spikes_end", "h_end"])
def backward(
    grad_spikes,
    carried,
    potentials,
    before,
    numbers,
    gradient,
    sums,
    neurons,
    steps,
    spikes_stride,
    h_stride,
    spikes_end,
    h_end,
    has_carried: tl.constexpr,
    has_before: tl.constexpr,
    with_constants: tl.constexpr,
    is_hard: tl.constexpr,
    surrogate: tl.constexpr,
    block: tl.constexpr,
):
    """Compute the gradient of h from the last timestep (`spikes_end`, `h_end`) to the first.

    With constants, each program writes its row of `sums` (programs, 3), sums over its
    neurons and all timesteps: the gradient of the threshold through spikes, that of the
    leak, and that of the threshold through the reset. No other program writes to the row,
    so the order of additions is fixed.
    """
    program = tl.program_id(0)
    at = program.to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = potentials.dtype.element_ty
    leak = tl.load(numbers).to(kind)
    threshold = tl.load(numbers + 1).to(kind)
    fire = tl.load(numbers + 2).to(kind)
    scale = tl.load(numbers + 3).to(kind)
    slope = tl.load(numbers + 4).to(kind)
    inner = tl.load(numbers + 5).to(kind)
    s_at = grad_spikes + at + spikes_end
    h_at, g_at = potentials + at + h_end, gradient + at + h_end
    g = tl.zeros([block], kind)
    if has_carried:
        g = tl.load(carried + at, mask=inside, other=0.0).to(kind)
    by_spikes = tl.zeros([block], tl.float64)
    by_leak = tl.zeros([block], tl.float64)
    by_reset = tl.zeros([block], tl.float64)
    for index in range(steps):
        h = tl.load(h_at, mask=inside, other=0.0)
        sent = tl.load(s_at, mask=inside, other=0.0).to(kind)
        rising = _derivative((h - fire) * scale, slope, inner, surrogate)
        if with_constants:
            by_spikes += (sent * rising * scale * h / threshold).to(tl.float64)
            left = _after_reset(h, fire, threshold, is_hard)
            # the later call counts the leak between the two calls
            by_leak += tl.where(index > 0, g * left, 0.0).to(tl.float64)
            by_reset += tl.where(h >= fire, g, 0.0).to(tl.float64)
        carry = g * leak
        if is_hard:
            carry = tl.where(h >= fire, 0.0, carry).to(kind)
        g = carry + sent * (rising * scale)
        tl.store(g_at, g, mask=inside)
        s_at -= spikes_stride
        h_at -= h_stride
        g_at -= h_stride
    if with_constants:
        if has_before:
            h = tl.load(before + at, mask=inside, other=0.0)
            left = _after_reset(h, fire, threshold, is_hard)
            by_leak += (g * left).to(tl.float64)
        tl.store(sums + program * 3, tl.sum(tl.where(inside, by_spikes, 0.0)))
        tl.store(sums + program * 3 + 1, tl.sum(tl.where(inside, by_leak, 0.0)))
        tl.store(sums + program * 3 + 2, tl.sum(tl.where(inside, by_reset, 0.0)))
