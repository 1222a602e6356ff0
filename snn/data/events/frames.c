/* Frames from events whose bins are known; binning.py has the same in numpy. */

#include <stdint.h>

/* Events of row r, which is one frame of `size` inputs, are first[r] to last[r]. `target` is the
 * place in a frame of each of the sensor's `places`, or NULL where they are equal. An input is 1
 * where there is any event if `is_binary`, else their number, at most 255. `out` is zero before.
 * Returns whether all events are on the sensor. */
int fill(const uint32_t *place, const int64_t *first, const int64_t *last, int64_t rows,
         uint32_t places, const int32_t *target, int64_t size, int is_binary, uint8_t *out)
{
    for (int64_t row = 0; row < rows; row++, out += size)
        for (const uint32_t *event = place + first[row]; event < place + last[row]; event++) {
            if (*event >= places)
                return 0;
            uint8_t *input = out + (target ? (uint32_t)target[*event] : *event);
            *input = (uint8_t)(is_binary ? 1 : *input + (*input != 255));
        }
    return 1;
}
