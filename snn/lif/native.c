/* The recurrence of leaky integrate-and-fire neurons over several timesteps, forward and
 * backward, in one pass over memory. Compiled once for float and once for double: this file
 * includes itself with REAL defined.
 *
 * Time is the outermost dimension: step t of neuron i lies at t * stride + i. Blocks of
 * neurons go through all timesteps while they are in the cache. No multiplication is fused
 * with an addition, so that results equal those of the eager body, bit for bit (the sigmoid
 * surrogate excepted, whose exponential is not torch's). */

#ifndef REAL

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK 2048 /* neurons: a few arrays of them fit in the first-level cache */
#define WORTH_THREADS 65536 /* neurons times timesteps below which one thread is faster */

enum { ATAN, TRIANGULAR, SIGMOID, FAST_SIGMOID };

/* a body for each surrogate; its caller defines RUN */
#define EACH(HARD) switch (surrogate) { \
        case ATAN: RUN(HARD, ATAN); break; \
        case TRIANGULAR: RUN(HARD, TRIANGULAR); break; \
        case SIGMOID: RUN(HARD, SIGMOID); break; \
        default: RUN(HARD, FAST_SIGMOID); }

/* exp to about two units in the last place, in operations that vectorise */
static inline float exponential_f(float x)
{
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float n = nearbyintf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } two;
    two.i = ((int32_t)n + 127) << 23;
    return p * two.f;
}

static inline double exponential_d(double x)
{
    return exp(x);
}

#define REAL float
#define NAME(name) name##_f
#include "native.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_d
#include "native.c"

#else

static inline REAL NAME(derivative)(REAL x, int surrogate, REAL slope, REAL inner)
{
    REAL y;
    switch (surrogate) {
    case ATAN: /* inner = pi / 2 * slope, slope halved by the caller */
        y = inner * x;
        return ((REAL)1 / ((REAL)1 + y * y)) * slope;
    case TRIANGULAR:
        y = (REAL)1 - slope * (x < 0 ? -x : x);
        return slope * (y < 0 ? 0 : y);
    case SIGMOID:
        y = (REAL)1 / ((REAL)1 + NAME(exponential)(-(slope * x)));
        return slope * y * ((REAL)1 - y);
    default:
        y = (REAL)1 + slope * (x < 0 ? -x : x);
        return (REAL)1 / (y * y);
    }
}

/* Leaks of a block of neurons: neuron i has the leak i / in_a_row % channels of its layer. */
static void NAME(gather)(const REAL *leaks, int64_t channels, int64_t in_a_row,
                         int64_t from, int64_t to, REAL *own)
{
    for (int64_t i = from; i < to; i++)
        own[i - from] = leaks[i / in_a_row % channels];
}

/* own: leaks of the block, or NULL for one leak */
static inline __attribute__((always_inline)) void NAME(forward_block)(
    const REAL *x, int64_t x_stride, const REAL *before, REAL *h_out, REAL *s_out,
    int64_t stride, int64_t steps, int64_t from, int64_t to,
    REAL leak, const REAL *own, REAL threshold, REAL fire, int hard)
{
    for (int64_t t = 0; t < steps; t++) {
        const REAL *x_t = x + t * x_stride, *last = t ? h_out + (t - 1) * stride : before;
        REAL *h_t = h_out + t * stride, *s_t = s_out + t * stride;
        if (last == NULL) {
            for (int64_t i = from; i < to; i++) {
                REAL h = x_t[i];
                h_t[i] = h;
                s_t[i] = h >= fire ? (REAL)1 : (REAL)0;
            }
        } else {
            for (int64_t i = from; i < to; i++) {
                REAL v = last[i];
                REAL fired = v >= fire ? (REAL)1 : (REAL)0;
                v = hard ? v * ((REAL)1 - fired) : v - threshold * fired;
                REAL h = x_t[i] + (own ? own[i - from] : leak) * v;
                h_t[i] = h;
                s_t[i] = h >= fire ? (REAL)1 : (REAL)0;
            }
        }
    }
}

void NAME(forward)(
    const REAL *x, int64_t x_stride, const REAL *before, REAL *h_out, REAL *s_out,
    int64_t stride, int64_t steps, int64_t neurons,
    double leak, double threshold, double fire, int hard,
    const REAL *leaks, int64_t channels, int64_t in_a_row, int threads)
{
    int64_t blocks = (neurons + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && neurons * steps > WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t from = b * BLOCK, to = from + BLOCK < neurons ? from + BLOCK : neurons;
#define RUN(HARD, OWN) NAME(forward_block)( \
        x, x_stride, before, h_out, s_out, stride, steps, from, to, \
        (REAL)leak, OWN, (REAL)threshold, (REAL)fire, HARD)
        if (leaks == NULL) {
            if (hard) RUN(1, NULL); else RUN(0, NULL);
        } else {
            REAL own[BLOCK];
            NAME(gather)(leaks, channels, in_a_row, from, to, own);
            if (hard) RUN(1, own); else RUN(0, own);
        }
#undef RUN
    }
}

static inline __attribute__((always_inline)) void NAME(backward_block)(
    const REAL *gs, int64_t gs_stride, const REAL *next, const REAL *h,
    REAL *g_out, int64_t stride, int64_t steps, int64_t from, int64_t to,
    REAL leak, const REAL *own, REAL fire, REAL scale, int hard,
    int surrogate, REAL slope, REAL inner)
{
    for (int64_t t = steps - 1; t >= 0; t--) {
        const REAL *carried = t == steps - 1 ? next : g_out + (t + 1) * stride;
        const REAL *h_t = h + t * stride, *gs_t = gs + t * gs_stride;
        REAL *g_t = g_out + t * stride;
        if (carried == NULL) {
            for (int64_t i = from; i < to; i++) {
                REAL rising = NAME(derivative)((h_t[i] - fire) * scale, surrogate, slope, inner);
                g_t[i] = gs_t[i] * (rising * scale);
            }
        } else {
            for (int64_t i = from; i < to; i++) {
                REAL rising = NAME(derivative)((h_t[i] - fire) * scale, surrogate, slope, inner);
                REAL carry = (own ? own[i - from] : leak) * carried[i];
                if (hard)
                    carry = h_t[i] >= fire ? (REAL)0 : carry;
                g_t[i] = carry + gs_t[i] * (rising * scale);
            }
        }
    }
}

/* gradients of the constants, after g_out is known */
static __attribute__((noinline)) void NAME(constants_block)(
    const REAL *gs, int64_t gs_stride, const REAL *next, const REAL *h, const REAL *before,
    const REAL *g_out, int64_t stride, int64_t steps, int64_t from, int64_t to,
    double leak, double threshold, REAL fire, double scale, int hard, int surrogate,
    REAL slope, REAL inner, double *sums)
{
    double of_leak = 0, of_threshold = 0;
    for (int64_t t = steps - 1; t >= 0; t--) {
        const REAL *carried = t == steps - 1 ? next : g_out + (t + 1) * stride;
        const REAL *last = t ? h + (t - 1) * stride : before;
        for (int64_t i = from; i < to; i++) {
            REAL at = h[t * stride + i];
            double rising = NAME(derivative)((at - fire) * (REAL)scale, surrogate, slope, inner);
            of_threshold -= gs[t * gs_stride + i] * rising * scale * at / threshold;
            if (!hard && carried != NULL && at >= fire)
                of_threshold -= leak * carried[i];
            if (last != NULL) {
                double v = last[i];
                if (last[i] >= fire)
                    v = hard ? 0 : v - threshold;
                of_leak += g_out[t * stride + i] * v;
            }
        }
    }
    sums[0] = of_leak;
    sums[1] = of_threshold;
}

/* gradient of the leak of each neuron, over all timesteps */
static __attribute__((noinline)) void NAME(leaks_block)(
    const REAL *h, const REAL *before, const REAL *g_out, int64_t stride, int64_t steps,
    int64_t from, int64_t to, REAL threshold, REAL fire, int hard, double *of_leaks)
{
    for (int64_t i = from; i < to; i++)
        of_leaks[i] = 0;
    for (int64_t t = steps - 1; t >= 0; t--) {
        const REAL *last = t ? h + (t - 1) * stride : before, *g_t = g_out + t * stride;
        if (last == NULL)
            continue;
        for (int64_t i = from; i < to; i++) {
            REAL v = last[i];
            REAL fired = v >= fire ? (REAL)1 : (REAL)0;
            v = hard ? v * ((REAL)1 - fired) : v - threshold * fired;
            of_leaks[i] += (double)g_t[i] * v;
        }
    }
}

/* `sums` (2 doubles per block of neurons) or NULL: gradients of leak and threshold. `leaks`
 * (channels) or NULL: a leak for each, and `of_leaks` (neurons) or NULL: their gradients. */
void NAME(backward)(
    const REAL *gs, int64_t gs_stride, const REAL *next, const REAL *h, const REAL *before,
    REAL *g_out, int64_t stride, int64_t steps, int64_t neurons,
    double leak, double threshold, double fire, double scale, int hard,
    int surrogate, double slope, double inner, double *sums,
    const REAL *leaks, int64_t channels, int64_t in_a_row, double *of_leaks, int threads)
{
    int64_t blocks = (neurons + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && neurons * steps > WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t from = b * BLOCK, to = from + BLOCK < neurons ? from + BLOCK : neurons;
#define RUN_WITH(OWN, HARD, SURROGATE) NAME(backward_block)( \
        gs, gs_stride, next, h, g_out, stride, steps, from, to, \
        (REAL)leak, OWN, (REAL)fire, (REAL)scale, HARD, SURROGATE, (REAL)slope, (REAL)inner)
        if (leaks == NULL) {
#define RUN(HARD, SURROGATE) RUN_WITH(NULL, HARD, SURROGATE)
            if (hard) EACH(1) else EACH(0)
#undef RUN
        } else {
            REAL own[BLOCK];
            NAME(gather)(leaks, channels, in_a_row, from, to, own);
#define RUN(HARD, SURROGATE) RUN_WITH(own, HARD, SURROGATE)
            if (hard) EACH(1) else EACH(0)
#undef RUN
        }
#undef RUN_WITH
        if (of_leaks != NULL)
            NAME(leaks_block)(h, before, g_out, stride, steps, from, to, (REAL)threshold,
                              (REAL)fire, hard, of_leaks);
        if (sums != NULL)
            NAME(constants_block)(gs, gs_stride, next, h, before, g_out, stride, steps, from, to,
                                  leak, threshold, (REAL)fire, scale, hard, surrogate,
                                  (REAL)slope, (REAL)inner, sums + 2 * b);
    }
}

/* y[t] = x[t] + decay * y[t-1], or y[t+1] backwards; `before` or NULL: y beside the first step */
void NAME(decaying)(
    const REAL *x, int64_t x_stride, const REAL *before, REAL *out,
    int64_t steps, int64_t neurons, double decay, int backward, int threads)
{
    int64_t blocks = (neurons + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && neurons * steps > WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t from = b * BLOCK, to = from + BLOCK < neurons ? from + BLOCK : neurons;
        const REAL *last = before;
        for (int64_t k = 0; k < steps; k++) {
            int64_t t = backward ? steps - 1 - k : k;
            const REAL *x_t = x + t * x_stride;
            REAL *y = out + t * neurons;
            if (last == NULL)
                for (int64_t i = from; i < to; i++)
                    y[i] = x_t[i];
            else
                for (int64_t i = from; i < to; i++)
                    y[i] = x_t[i] + (REAL)decay * last[i];
            last = y;
        }
    }
}

/* Neurons whose threshold adapts; v and a are those before the first step, then those after the
 * last one. d: distance of the potential to the threshold. */
static inline __attribute__((always_inline)) void NAME(adaptive_forward_block)(
    const REAL *x, int64_t x_stride, REAL *v, REAL *a, REAL *d_out, REAL *s_out,
    int64_t steps, int64_t neurons, int64_t from, int64_t to,
    REAL leak, REAL threshold, REAL fire, REAL rise, REAL decay, int hard)
{
    for (int64_t t = 0; t < steps; t++) {
        const REAL *x_t = x + t * x_stride;
        REAL *d_t = d_out + t * neurons, *s_t = s_out + t * neurons;
        for (int64_t i = from; i < to; i++) {
            REAL h = x_t[i] + v[i] * leak;
            REAL d = (h - fire) - a[i] * rise;
            REAL s = d >= 0 ? (REAL)1 : (REAL)0;
            v[i] = hard ? h * ((REAL)1 - s) : h - s * threshold;
            a[i] = a[i] * decay + s;
            d_t[i] = d;
            s_t[i] = s;
        }
    }
}

void NAME(adaptive_forward)(
    const REAL *x, int64_t x_stride, REAL *v, REAL *a, REAL *d_out, REAL *s_out,
    int64_t steps, int64_t neurons, double leak, double threshold, double fire,
    double rise, double decay, int hard, int threads)
{
    int64_t blocks = (neurons + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && neurons * steps > WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t from = b * BLOCK, to = from + BLOCK < neurons ? from + BLOCK : neurons;
#define RUN(HARD) NAME(adaptive_forward_block)( \
        x, x_stride, v, a, d_out, s_out, steps, neurons, from, to, \
        (REAL)leak, (REAL)threshold, (REAL)fire, (REAL)rise, (REAL)decay, HARD)
        if (hard) RUN(1); else RUN(0);
#undef RUN
    }
}

static inline __attribute__((always_inline)) void NAME(adaptive_backward_block)(
    const REAL *gs, int64_t gs_stride, REAL *of_v, REAL *of_a, const REAL *d, REAL *g_out,
    int64_t steps, int64_t neurons, int64_t from, int64_t to,
    REAL leak, REAL rise, REAL decay, REAL height, int hard,
    int surrogate, REAL slope, REAL inner)
{
    for (int64_t t = steps - 1; t >= 0; t--) {
        const REAL *d_t = d + t * neurons, *gs_t = gs + t * gs_stride;
        REAL *g_t = g_out + t * neurons;
        for (int64_t i = from; i < to; i++) {
            REAL rising = NAME(derivative)(d_t[i], surrogate, slope, inner);
            REAL risen = (gs_t[i] + of_a[i]) * height * rising;
            REAL carry = hard && d_t[i] >= 0 ? (REAL)0 : of_v[i];
            g_t[i] = carry + risen;
            of_v[i] = g_t[i] * leak;
            of_a[i] = of_a[i] * decay - risen * rise;
        }
    }
}

void NAME(adaptive_backward)(
    const REAL *gs, int64_t gs_stride, REAL *of_v, REAL *of_a, const REAL *d, REAL *g_out,
    int64_t steps, int64_t neurons, double leak, double rise, double decay, double height,
    int hard, int surrogate, double slope, double inner, int threads)
{
    int64_t blocks = (neurons + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && neurons * steps > WORTH_THREADS)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t from = b * BLOCK, to = from + BLOCK < neurons ? from + BLOCK : neurons;
#define RUN(HARD, SURROGATE) NAME(adaptive_backward_block)( \
        gs, gs_stride, of_v, of_a, d, g_out, steps, neurons, from, to, \
        (REAL)leak, (REAL)rise, (REAL)decay, (REAL)height, HARD, SURROGATE, \
        (REAL)slope, (REAL)inner)
        if (hard) EACH(1) else EACH(0)
#undef RUN
    }
}

int NAME(block_size)(void) { return BLOCK; }

#endif
