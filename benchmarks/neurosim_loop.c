/* The online training that MLP+NeuroSim does (V1.0 and V3.0, Train.cpp, Cell.cpp), written anew as plain loops, so
 * that neurosim_task.py can take it apart: what of it makes a device learn? Conductances in units of the largest;
 * a weight is 2 G - 1, read against half of the largest conductance, or in shares of the range about its middle.
 *
 *   loop IMAGES key=value ...      prints the percent right on the test images
 *
 * IMAGES: 10,000 x 400 bytes of 0 or 1, 10,000 labels of 4 bytes, and the same for the test. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUTS = 400, HIDDEN = 100, CLASSES = 10, IMAGES = 10000 };
enum { IDEAL, ROUNDING, TRUNCATING }; /* converters */

static struct {
    double seed, updates, converter, on_at_zero, analog; /* analog: the output layer learns from a, not from its bit */
    double rate1, rate2;                                 /* of weights from 0 to 1, as there */
    double floor, levels_up, levels_down, a_up, a_down, retraces, c2c; /* the device; a of 0 is straight */
    double middle; /* read against the middle of the range */
} is = {0, 1e6, TRUNCATING, 1, 1, 0.2, 0.1, 0.02, 64, 64, 0, 0, 0, 0, 0};

static const struct {
    const char *name;
    double *value;
} keys[] = {
    {"seed", &is.seed},         {"updates", &is.updates},     {"converter", &is.converter},
    {"on_at_zero", &is.on_at_zero}, {"analog", &is.analog},   {"rate1", &is.rate1},
    {"rate2", &is.rate2},       {"floor", &is.floor},         {"levels_up", &is.levels_up},
    {"levels_down", &is.levels_down}, {"a_up", &is.a_up},     {"a_down", &is.a_down},
    {"retraces", &is.retraces}, {"c2c", &is.c2c},         {"middle", &is.middle},
};

static unsigned char train_x[IMAGES][INPUTS], test_x[IMAGES][INPUTS];
static int32_t train_y[IMAGES], test_y[IMAGES];
static double g1[INPUTS][HIDDEN], g2[CLASSES][HIDDEN];
static double a1[HIDDEN], a2[CLASSES];
static unsigned char bit[HIDDEN];

static uint64_t state;

static double uniform(void) /* xorshift64, [0, 1) */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform() + 1e-300)) * cos(6.283185307179586 * uniform());
}

/* Current of a column of so many lines, and how many of them are driven -> the weighted sum. */
static double converted(double current, double driven, double lines)
{
    const double step = lines / 255;
    if (is.middle)
        return 2 * step * (floor(current / step) - floor(driven * (1 + is.floor) / 2 / step)) / (1 - is.floor);
    if (is.converter == TRUNCATING) /* the column and its reference, each for itself */
        return step * (2 * floor(current / step) - floor(driven / step));
    const double sum = 2 * current - driven;
    if (is.converter == ROUNDING)
        return 2 * step * rint(sum / (2 * step));
    return sum;
}

static void forward(const unsigned char *x)
{
    double current[HIDDEN] = {0};
    int driven = 0, lit = 0;
    for (int k = 0; k < INPUTS; k++)
        if (x[k]) {
            driven++;
            for (int j = 0; j < HIDDEN; j++)
                current[j] += g1[k][j];
        }
    for (int j = 0; j < HIDDEN; j++) {
        const double z = converted(current[j], driven, INPUTS);
        a1[j] = 1 / (1 + exp(-z));
        bit[j] = is.on_at_zero ? z >= 0 : z > 0;
        lit += bit[j];
    }
    for (int k = 0; k < CLASSES; k++) {
        double sum = 0;
        for (int j = 0; j < HIDDEN; j++)
            sum += bit[j] * g2[k][j];
        a2[k] = 1 / (1 + exp(-converted(sum, lit, HIDDEN)));
    }
}

/* The conductance after n pulses: along the branch from where g lies on it, then the scatter of a train. */
static double pulsed(double g, int n)
{
    const double range = 1 - is.floor, levels = n > 0 ? is.levels_up : is.levels_down;
    const double shape = n > 0 ? is.a_up : is.a_down, a = shape * levels;
    if (shape == 0)
        g += n * range / levels;
    else {
        const double b = range / (1 - exp(-1 / shape));
        if (n > 0 || is.retraces) /* towards floor + b, or back on that branch */
            g = is.floor + b - (is.floor + b - g) * exp(-n / a);
        else
            g = 1 - b + (g - 1 + b) * exp(n / a);
    }
    if (is.c2c > 0)
        g += is.c2c * range * sqrt(abs(n)) * normal();
    return fmin(fmax(g, is.floor), 1);
}

static int pulses(double change) /* rounded, half away from 0 */
{
    const double wanted = change * (change > 0 ? is.levels_up : is.levels_down);
    return (int)(wanted + (wanted > 0 ? 0.5 : -0.5));
}

static void learn(const unsigned char *x, int label)
{
    double s1[HIDDEN], s2[CLASSES];
    forward(x);
    for (int k = 0; k < CLASSES; k++)
        s2[k] = -2 * a2[k] * (1 - a2[k]) * ((k == label) - a2[k]);
    for (int j = 0; j < HIDDEN; j++) {
        s1[j] = 0;
        for (int k = 0; k < CLASSES; k++)
            s1[j] += (2 * (g2[k][j] - is.floor) / (1 - is.floor) - 1) * s2[k];
        s1[j] *= a1[j] * (1 - a1[j]);
    }
    for (int j = 0; j < HIDDEN; j++) {
        const int n = pulses(-is.rate1 * s1[j]);
        for (int k = 0; n != 0 && k < INPUTS; k++)
            if (x[k])
                g1[k][j] = pulsed(g1[k][j], n);
    }
    for (int k = 0; k < CLASSES; k++)
        for (int j = 0; j < HIDDEN; j++) {
            const int n = pulses(-is.rate2 * s2[k] * (is.analog ? a1[j] : bit[j]));
            if (n != 0)
                g2[k][j] = pulsed(g2[k][j], n);
        }
}

static void read_or_die(void *to, size_t bytes, FILE *file)
{
    if (fread(to, 1, bytes, file) != bytes) {
        fprintf(stderr, "neurosim_loop: the file of images is too short\n");
        exit(2);
    }
}

int main(int count, char **words)
{
    FILE *file = count > 1 ? fopen(words[1], "rb") : NULL;
    if (!file) {
        fprintf(stderr, "neurosim_loop: name a file of images\n");
        return 2;
    }
    read_or_die(train_x, sizeof train_x, file);
    read_or_die(train_y, sizeof train_y, file);
    read_or_die(test_x, sizeof test_x, file);
    read_or_die(test_y, sizeof test_y, file);
    fclose(file);
    for (int w = 2; w < count; w++) {
        size_t k = 0;
        const char *value = strchr(words[w], '=');
        while (k < sizeof keys / sizeof *keys && (!value || strlen(keys[k].name) != (size_t)(value - words[w]) ||
                                                  strncmp(keys[k].name, words[w], (size_t)(value - words[w])) != 0))
            k++;
        if (k == sizeof keys / sizeof *keys) {
            fprintf(stderr, "neurosim_loop: unknown %s\n", words[w]);
            return 2;
        }
        *keys[k].value = atof(value + 1);
    }
    state = 88172645463325252u + 1000003u * (uint64_t)is.seed;
    for (int k = 0; k < INPUTS; k++)
        for (int j = 0; j < HIDDEN; j++)
            g1[k][j] = is.floor + (1 - is.floor) * floor(7 * uniform()) / 6;
    for (int k = 0; k < CLASSES; k++)
        for (int j = 0; j < HIDDEN; j++)
            g2[k][j] = is.floor + (1 - is.floor) * floor(7 * uniform()) / 6;
    for (double done = 0; done < is.updates; done++) {
        const int i = (int)(IMAGES * uniform());
        learn(train_x[i], train_y[i]);
    }
    int right = 0;
    for (int i = 0; i < IMAGES; i++) {
        forward(test_x[i]);
        int best = 0;
        for (int k = 1; k < CLASSES; k++)
            best = a2[k] > a2[best] ? k : best;
        right += best == test_y[i];
    }
    printf("%.2f\n", 100.0 * right / IMAGES);
    return 0;
}
