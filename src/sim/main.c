// SPDX-License-Identifier: Apache-2.0
/*
 * dispatch-sim: the orchestrator in a simulated world, one history a seed.
 *
 *   dispatch-sim                         one fresh seed, printed
 *   dispatch-sim --seed 42               that one; the same history each time
 *   dispatch-sim --seed 1 --seeds 200    1 to 200
 *   dispatch-sim --minutes 5             fresh seeds for five minutes of this machine's time
 *
 * dispatch-sim --help lists the rest.
 *
 * To read a failing seed: the invariant and the call that it names stand at the end; above them the
 * last hundred lines say what became of calls, commits and the process. --seed N --verbose prints
 * the whole history, from which `grep "call 17 "` tells the life of one call. A line starts with
 * the step and the seconds since the world began. The same seed and the same code give the same
 * lines.
 *
 * Exits with 1 when an invariant does not hold, after saying which, and with which seed.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/mutation.h"
#include "sim/world.h"

#define STEPS_DEFAULT 3000

#ifdef MUTATIONS
unsigned engine_mutation;
#endif

struct arguments {
    uint64_t seed, seeds, steps, minutes;
    bool fresh, verbose, same, every_fault;
    const char *store;
    enum plant plant;
};

static void help(void)
{
    puts("usage: dispatch-sim [OPTION...]\n"
         "Runs the orchestrator in a simulated world: one seed is one history.\n"
         "  --seed N        the first seed; without it a fresh one, which is printed\n"
         "  --seeds COUNT   as many seeds, one after the other (1)\n"
         "  --minutes M     as many as M minutes allow\n"
         "  --steps N       nothing goes wrong after step N of a history (3000)\n"
         "  --store KIND    memory, or sqlite on a simulated disk (each eighth seed has that)\n"
         "  --verbose       print every line of the histories\n"
         "  --same          run each seed twice and compare\n"
         "  --every-fault   fail if some kind of fault never happened\n"
         "  --plant NAME    plant a bug, which is to be found; one of");
    for (int i = 1; i < PLANT_COUNT; i++)
        printf("%s %s", i == 1 ? "                 " : "", plant_names[i]);
    puts("\nExits with 1 when an invariant does not hold, after saying which and with which seed.");
    exit(0);
}

static uint64_t number(const char *option, const char *text)
{
    char *end;
    uint64_t n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (errno || *end || end == text || text[0] == '-') {
        fprintf(stderr, "dispatch-sim: --%s takes a number, not '%s'\n", option, text);
        exit(2);
    }
    return n;
}

static enum plant plant_of(const char *name)
{
    for (int i = 0; i < PLANT_COUNT; i++)
        if (strcmp(name, plant_names[i]) == 0)
            return (enum plant)i;
    fprintf(stderr, "dispatch-sim: no planted bug '%s'; there are:", name);
    for (int i = 1; i < PLANT_COUNT; i++)
        fprintf(stderr, " %s", plant_names[i]);
    fprintf(stderr, "\n");
    exit(2);
}

static void parse(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'n'},
        {"steps", required_argument, NULL, 'k'},
        {"minutes", required_argument, NULL, 'm'},
        {"verbose", no_argument, NULL, 'v'},
        {"same", no_argument, NULL, '2'},
        {"every-fault", no_argument, NULL, 'f'},
        {"plant", required_argument, NULL, 'p'},
#ifdef MUTATIONS
        {"mutation", required_argument, NULL, 'u'},
#endif
        {"store", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c, at = 0;

    while ((c = getopt_long(argc, argv, "", options, &at)) != -1) {
        switch (c) {
        case 's':
            a->seed = number("seed", optarg);
            a->fresh = false;
            break;
        case 'n':
            a->seeds = number("seeds", optarg);
            break;
        case 'k':
            a->steps = number("steps", optarg);
            break;
        case 'm':
            a->minutes = number("minutes", optarg);
            break;
        case 'v':
            a->verbose = true;
            break;
        case '2':
            a->same = true;
            break;
        case 'f':
            a->every_fault = true;
            break;
#ifdef MUTATIONS
        case 'u':
            engine_mutation = (unsigned)number("mutation", optarg);
            break;
#endif
        case 'd':
            a->store = optarg;
            if (strcmp(optarg, "memory") != 0 && strcmp(optarg, "sqlite") != 0) {
                fprintf(stderr, "dispatch-sim: --store is memory or sqlite, not '%s'\n", optarg);
                exit(2);
            }
            break;
        case 'h':
            help();
            break;
        case 'p':
            a->plant = plant_of(optarg);
            break;
        default:
            exit(2);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "dispatch-sim: '%s' is not an option\n", argv[optind]);
        exit(2);
    }
}

static uint64_t fresh_seed(void)
{
    uint32_t seed;

    rand_system(&seed, sizeof seed);
    return seed;
}

static void run_seed(const struct arguments *a, uint64_t seed, bool print, struct totals *totals)
{
    struct history h = {.seed = seed,
                        .steps = a->steps,
                        .plant = a->plant,
                        .verbose = a->verbose,
                        .sqlite = a->store ? strcmp(a->store, "sqlite") == 0 : seed % 8 == 0};
    struct totals unwanted = {0};
    uint64_t hash = world_run(&h, totals), again;

    if (print)
        printf("seed %" PRIu64 ": history %016" PRIx64 "\n", seed, hash);
    if (!a->same)
        return;
    again = world_run(&h, &unwanted);
    if (again == hash)
        return;
    fflush(stdout);
    fprintf(stderr,
            "FAILED: the same seed gives the same history\n  seed %" PRIu64 " gave %016" PRIx64
            " and then %016" PRIx64 "\n",
            seed, hash, again);
    exit(1);
}

static void print_totals(const struct totals *t, int64_t ns)
{
    double hours = (double)t->simulated_ns / 3.6e12, minutes = (double)ns / 6e10;
    uint64_t faults = 0;

    for (int i = 0; i < FAULT_COUNT; i++)
        faults += t->faults[i];
    printf("%" PRIu64 " histories, %.1f simulated hours in %.1f s: %" PRIu64 " steps, %" PRIu64
           " commits, %" PRIu64 " runs\n",
           t->histories, hours, minutes * 60, t->steps, t->commits, t->runs);
    printf("calls dispatched %" PRIu64 ", acknowledged %" PRIu64 ", requests refused %" PRIu64
           "; with their children, ended OK %" PRIu64 ", failed %" PRIu64 ", expired %" PRIu64
           ", cancelled %" PRIu64 "\n",
           t->dispatched, t->acknowledged, t->refused, t->ended[ENDED_OK], t->ended[ENDED_FAILED],
           t->ended[ENDED_EXPIRED], t->ended[ENDED_CANCELLED]);
    printf("children given up %" PRIu64 ", wakes at an error %" PRIu64
           ", completions from outside %" PRIu64 ", polls that waited for room %" PRIu64 "\n",
           t->given_up, t->early_wakes, t->completions, t->stalled);
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("  %-30s %" PRIu64 "\n", fault_names[i], t->faults[i]);
    printf("%" PRIu64 " seeds, %.1f simulated hours, %" PRIu64
           " faults; %.0f hours and %.0f faults a"
           " minute of this machine\n",
           t->histories, hours, faults, hours / minutes, (double)faults / minutes);
}

static int check_faults(const struct totals *t)
{
    int missing = 0;

    for (int i = 0; i < FAULT_COUNT; i++) {
        if (t->faults[i])
            continue;
        fprintf(stderr, "FAILED: every kind of fault happens\n  never: %s\n", fault_names[i]);
        missing = 1;
    }
    return missing;
}

int main(int argc, char **argv)
{
    struct arguments a = {.seeds = 1, .steps = STEPS_DEFAULT, .fresh = true};
    struct totals totals = {0};
    int64_t start = clock_now(clock_system()), ns;

    parse(&a, argc, argv);
    if (a.fresh)
        a.seed = fresh_seed();
    for (uint64_t i = 0; a.minutes || i < a.seeds; i++) {
        if (a.minutes && clock_now(clock_system()) - start >= (int64_t)a.minutes * 60 * NS_PER_S)
            break;
        run_seed(&a, a.seed + i, !a.minutes && a.seeds <= 10, &totals);
    }
    ns = clock_now(clock_system()) - start;
    if (a.seeds > 10 || a.minutes)
        printf("seeds from %" PRIu64 " on\n", a.seed);
    print_totals(&totals, ns);
    return a.every_fault ? check_faults(&totals) : 0;
}
