/* Events of EVT 2.0 and EVT 3.0 words; prophesee.py has the same in numpy.
 *
 * Events go to `out`, in which columns of `room` numbers follow each other: time, x, y, ON.
 * Both functions return how many events there are; with `out` NULL they only count. What comes
 * before the first word of high time bits has no time and is left out. */

#include <stddef.h>
#include <stdint.h>

/* a counter of so many bits goes on over its overflows, which are large steps back */
static int64_t unwrapped(int64_t last, int64_t value, int bits)
{
    int64_t full = (int64_t)1 << bits, before = last < 0 ? value : last;
    int64_t wraps = before / full;
    if (value - before % full < -(full / 2))
        wraps++;
    return wraps * full + value;
}

static inline void put(int64_t *out, int64_t room, int64_t at,
                       int64_t time, int64_t x, int64_t y, int64_t on)
{
    out[at] = time;
    out[at + room] = x;
    out[at + 2 * room] = y;
    out[at + 3 * room] = on;
}

int64_t evt2(const uint32_t *words, int64_t count, int64_t *out, int64_t room)
{
    int64_t high = -1, events = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t word = words[i], kind = word >> 28;
        if (kind == 8)
            high = unwrapped(high, word & 0xFFFFFFF, 28);
        else if (kind <= 1 && high >= 0) {
            if (out != NULL)
                put(out, room, events, high << 6 | (word >> 22 & 63),
                    word >> 11 & 2047, word & 2047, kind);
            events++;
        }
    }
    return events;
}

int64_t evt3(const uint16_t *words, int64_t count, int64_t *out, int64_t room)
{
    int64_t high = -1, low = 0, y = 0, x = 0, on = 0, events = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t kind = words[i] >> 12, value = words[i] & 4095;
        switch (kind) {
        case 0: y = value & 2047; break;
        case 2:
            if (high >= 0) {
                if (out != NULL)
                    put(out, room, events, high << 12 | low, value & 2047, y, value >> 11);
                events++;
            }
            break;
        case 3: x = value & 2047; on = value >> 11; break;
        case 4:
        case 5: { /* 12 or 8 pixels of a row, which continue where the last word ended */
            int length = kind == 4 ? 12 : 8;
            uint32_t bits = high < 0 ? 0 : value & ((1u << length) - 1);
            if (out == NULL)
                events += __builtin_popcount(bits);
            else
                for (; bits != 0; bits &= bits - 1, events++)
                    put(out, room, events, high << 12 | low, x + __builtin_ctz(bits), y, on);
            x += length;
            break;
        }
        case 6: low = value; break;
        case 8: high = unwrapped(high, value, 12); break;
        }
    }
    return events;
}
