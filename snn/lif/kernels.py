"""The recurrence in Triton: one program per block of neurons, a loop over all timesteps.

Each timestep is dense in memory, so that neighbouring neurons are read together; potentials
stay in registers. `numbers` are leak, threshold, fire, scale and the two factors of the
surrogate, in double precision on the device: learned or changed values need neither a copy
to the host nor another compilation. With `leaks` the neuron at place i in memory has the leak
i / in_a_row % channels of them.

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


@triton.jit(
    do_not_specialize=[
        "steps",
        "current_stride",
        "spikes_stride",
        "h_stride",
        "channels",
        "in_a_row",
    ]
)
def forward(
    current,
    before,
    numbers,
    leaks,
    spikes,
    potentials,
    neurons,
    steps,
    current_stride,
    spikes_stride,
    h_stride,
    channels,
    in_a_row,
    has_before: tl.constexpr,
    has_leaks: tl.constexpr,
    is_hard: tl.constexpr,
    block: tl.constexpr,
):
    """Compute spikes and potentials h; strides are from one timestep to the next."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = potentials.dtype.element_ty
    if has_leaks:
        leak = tl.load(leaks + (at // in_a_row) % channels, mask=inside, other=0.0).to(kind)
    else:
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


@triton.jit(
    do_not_specialize=[
        "steps",
        "spikes_stride",
        "h_stride",
        "spikes_end",
        "h_end",
        "channels",
        "in_a_row",
    ]
)
def backward(
    grad_spikes,
    carried,
    potentials,
    before,
    numbers,
    leaks,
    gradient,
    sums,
    of_leaks,
    neurons,
    steps,
    spikes_stride,
    h_stride,
    spikes_end,
    h_end,
    channels,
    in_a_row,
    has_carried: tl.constexpr,
    has_before: tl.constexpr,
    has_leaks: tl.constexpr,
    with_constants: tl.constexpr,
    is_hard: tl.constexpr,
    surrogate: tl.constexpr,
    block: tl.constexpr,
):
    """Compute the gradient of h from the last timestep (`spikes_end`, `h_end`) to the first.

    With constants, each program writes its row of `sums` (programs, 3), sums over its
    neurons and all timesteps: the gradient of the threshold through spikes, that of the
    leak, and that of the threshold through the reset. No other program writes to the row,
    so the order of additions is fixed. With leaks, each neuron has the gradient of its own in
    `of_leaks`.
    """
    program = tl.program_id(0)
    at = program.to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = potentials.dtype.element_ty
    if has_leaks:
        leak = tl.load(leaks + (at // in_a_row) % channels, mask=inside, other=0.0).to(kind)
    else:
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
        if has_leaks:
            tl.store(of_leaks + at, by_leak, mask=inside)
        else:
            tl.store(sums + program * 3, tl.sum(tl.where(inside, by_spikes, 0.0)))
            tl.store(sums + program * 3 + 1, tl.sum(tl.where(inside, by_leak, 0.0)))
            tl.store(sums + program * 3 + 2, tl.sum(tl.where(inside, by_reset, 0.0)))


@triton.jit(do_not_specialize=["steps", "current_stride", "spikes_stride", "d_stride"])
def adaptive_forward(
    current,
    v,
    a,
    numbers,
    spikes,
    distances,
    last_v,
    last_a,
    neurons,
    steps,
    current_stride,
    spikes_stride,
    d_stride,
    is_hard: tl.constexpr,
    block: tl.constexpr,
):
    """Compute spikes, distances to the threshold, and the states after the last timestep.

    `numbers` are leak, threshold, fire, rise, decay, height and the factors of the surrogate.
    """
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = distances.dtype.element_ty
    leak = tl.load(numbers).to(kind)
    threshold = tl.load(numbers + 1).to(kind)
    fire = tl.load(numbers + 2).to(kind)
    rise = tl.load(numbers + 3).to(kind)
    decay = tl.load(numbers + 4).to(kind)
    x_at, s_at, d_at = current + at, spikes + at, distances + at
    left = tl.load(v + at, mask=inside, other=0.0)
    risen = tl.load(a + at, mask=inside, other=0.0)
    for _ in range(steps):
        h = tl.load(x_at, mask=inside, other=0.0).to(kind) + left * leak
        d = (h - fire) - risen * rise
        fired = tl.where(d >= 0, 1.0, 0.0).to(kind)
        if is_hard:
            left = h * (1 - fired)
        else:
            left = h - fired * threshold
        risen = risen * decay + fired
        tl.store(d_at, d, mask=inside)
        tl.store(s_at, fired.to(spikes.dtype.element_ty), mask=inside)
        x_at += current_stride
        s_at += spikes_stride
        d_at += d_stride
    tl.store(last_v + at, left, mask=inside)
    tl.store(last_a + at, risen, mask=inside)


@triton.jit(do_not_specialize=["steps", "spikes_stride", "d_stride", "spikes_end", "d_end"])
def adaptive_backward(
    grad_spikes,
    of_v,
    of_a,
    distances,
    numbers,
    gradient,
    first_v,
    first_a,
    neurons,
    steps,
    spikes_stride,
    d_stride,
    spikes_end,
    d_end,
    is_hard: tl.constexpr,
    surrogate: tl.constexpr,
    block: tl.constexpr,
):
    """Compute the gradient of the current, and of the states before the first timestep.

    From the last timestep (`spikes_end`, `d_end`) to the first; `numbers` as in the forward pass.
    """
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = distances.dtype.element_ty
    leak = tl.load(numbers).to(kind)
    rise = tl.load(numbers + 3).to(kind)
    decay = tl.load(numbers + 4).to(kind)
    height = tl.load(numbers + 5).to(kind)
    slope = tl.load(numbers + 6).to(kind)
    inner = tl.load(numbers + 7).to(kind)
    s_at = grad_spikes + at + spikes_end
    d_at, g_at = distances + at + d_end, gradient + at + d_end
    v = tl.load(of_v + at, mask=inside, other=0.0).to(kind)
    a = tl.load(of_a + at, mask=inside, other=0.0).to(kind)
    for _ in range(steps):
        d = tl.load(d_at, mask=inside, other=0.0)
        sent = tl.load(s_at, mask=inside, other=0.0).to(kind) + a
        risen = sent * height * _derivative(d, slope, inner, surrogate)
        if is_hard:
            v = tl.where(d >= 0, 0.0, v).to(kind)
        g = v + risen
        tl.store(g_at, g, mask=inside)
        v = g * leak
        a = a * decay - risen * rise
        s_at -= spikes_stride
        d_at -= d_stride
        g_at -= d_stride
    tl.store(first_v + at, v, mask=inside)
    tl.store(first_a + at, a, mask=inside)


@triton.jit(do_not_specialize=["steps", "x_stride", "y_stride", "x_start", "y_start"])
def decaying(
    x,
    before,
    numbers,
    y,
    neurons,
    steps,
    x_stride,
    y_stride,
    x_start,
    y_start,
    has_before: tl.constexpr,
    block: tl.constexpr,
):
    """Compute y[t] = decay * y[t-1] + x[t]; backwards in time with strides below 0.

    `numbers` holds the decay.
    """
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < neurons
    kind = y.dtype.element_ty
    decay = tl.load(numbers).to(kind)
    x_at, y_at = x + at + x_start, y + at + y_start
    kept = tl.zeros([block], kind)
    if has_before:
        kept = tl.load(before + at, mask=inside, other=0.0).to(kind)
    for _ in range(steps):
        kept = tl.load(x_at, mask=inside, other=0.0).to(kind) + kept * decay
        tl.store(y_at, kept, mask=inside)
        x_at += x_stride
        y_at += y_stride
