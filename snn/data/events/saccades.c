/* Events of images under a moving view; saccades.py has the same in numpy.
 *
 * A pixel's level is ln(DARK + brightness) / contrast to ten digits. The logarithm is taken only
 * where the brightness has left the range in which no event can be. Events go to `out`, in which
 * columns of `room` numbers follow each other: image, time, x, y, ON; in the order of images,
 * milliseconds, rows and columns. Returns how many there are, of which the first `room` are
 * written. `memory` has room for five numbers of each pixel of the sensor. */

#include <math.h>
#include <stdint.h>

#define MARGIN 1e-9 /* of brightness: more than ten digits of a level */

static double level(double brightness, double dark, double contrast)
{
    return rint(log(dark + brightness) / contrast * 1e10) / 1e10;
}

int64_t moved(const double *canvas, int64_t images, int64_t rows, int64_t columns,
              const int64_t *corner, const double *share, int64_t moments,
              const double *contrast, int64_t height, int64_t width, double dark,
              double *memory, int64_t *out, int64_t room)
{
    int64_t size = height * width, events = 0;
    double *last = memory, *low = last + size, *high = low + size;
    double *view = high + size, *seen = view + size;
    for (int64_t image = 0; image < images; image++) {
        for (int64_t moment = 0; moment < moments; moment++) {
            const double *top = canvas + (image * rows + corner[2 * moment]) * columns
                                + corner[2 * moment + 1];
            const double *s = share + 4 * moment;
            for (int64_t y = 0; y < height; y++) {
                const double *upper = top + y * columns, *lower = upper + columns;
                double *now = view + y * width;
                const double *least = low + y * width, *most = high + y * width;
                int leaves = moment == 0;
                for (int64_t x = 0; x < width; x++) {
                    double v = s[0] * upper[x] + s[1] * upper[x + 1];
                    now[x] = v + s[2] * lower[x] + s[3] * lower[x + 1];
                }
                for (int64_t x = 0; x < width; x++)
                    leaves |= (now[x] > most[x]) | (now[x] < least[x]);
                for (int64_t x = 0; leaves && x < width; x++) {
                    int64_t pixel = y * width + x;
                    double step = contrast[pixel];
                    if (moment == 0)
                        last[pixel] = level(now[x], dark, step);
                    else if (!(now[x] > most[x] || now[x] < least[x]))
                        continue;
                    else {
                        double after = level(now[x], dark, step);
                        double change = trunc(after - last[pixel]);
                        double sign = change < 0 ? -1 : 1;
                        double before = level(seen[pixel], dark, step);
                        for (int64_t rank = 1; rank <= fabs(change); rank++) {
                            double part = (last[pixel] + sign * rank - before) / (after - before);
                            part = fmin(fmax(rint(part * 1e6) / 1e6, 0), 1);
                            if (events < room) {
                                int64_t *place = out + events;
                                place[0] = image;
                                place[room] = (int64_t)floor((moment - 1 + part) * 1000);
                                place[2 * room] = x;
                                place[3 * room] = y;
                                place[4 * room] = change > 0;
                            }
                            events++;
                        }
                        last[pixel] += change;
                    }
                    low[pixel] = exp((last[pixel] - 1) * step) - dark + MARGIN;
                    high[pixel] = exp((last[pixel] + 1) * step) - dark - MARGIN;
                }
            }
            double *other = seen;
            seen = view;
            view = other;
        }
    }
    return events;
}
