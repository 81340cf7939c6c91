// SPDX-License-Identifier: Apache-2.0
#include "net/testing.h"

#include <errno.h>
#include <signal.h>

#include "net/dial.h"

static int setup(void **state)
{
    struct net_loop *loop;

    assert_int_equal(net_loop_create(&loop, NULL), 0);
    *state = loop;
    return 0;
}

static int teardown(void **state)
{
    net_loop_destroy(*state);
    return 0;
}

struct trace {
    struct net_loop *loop;
    struct net_timer *timer[4];
    char text[64];
};

struct mark {
    struct trace *trace;
    char letter;
};

static void put(void *arg)
{
    struct mark *mark = arg;

    mark->trace->text[strlen(mark->trace->text)] = mark->letter;
}

static void timers_go_off_in_order(void **state)
{
    struct net_loop *loop = *state;
    struct trace trace = {.loop = loop};
    struct mark marks[4] = {{&trace, 'a'}, {&trace, 'b'}, {&trace, 'c'}, {&trace, 'd'}};
    struct net_timer *timers[4];

    for (size_t i = 0; i < 4; i++)
        timers[i] = net_timer_create(loop, put, &marks[i]);
    net_timer_set(timers[0], 30);
    net_timer_set(timers[1], 10);
    net_timer_set(timers[2], 20);
    net_timer_set(timers[3], 5);
    net_timer_clear(timers[2]);
    net_timer_set(timers[3], 40); /* moved */
    UNTIL(loop, strlen(trace.text) == 3);
    assert_string_equal(trace.text, "bad");
    net_timer_set(timers[2], 0); /* again after its time */
    UNTIL(loop, strlen(trace.text) == 4);
    assert_string_equal(trace.text, "badc");
    net_timer_set(timers[0], UINT64_MAX); /* never, but no overflow */
    step(loop);
    assert_string_equal(trace.text, "badc");
    for (size_t i = 0; i < 4; i++)
        net_timer_destroy(timers[i]);
    net_timer_destroy(NULL);
}

static int again_count;
static struct net_timer *again_timer, *other_timer;

static void again(void *arg)
{
    (void)arg;
    if (++again_count < 100)
        net_timer_set(again_timer, 0);
    if (again_count == 3) {
        net_timer_destroy(other_timer); /* due as well */
        other_timer = NULL;
    }
}

static void never(void *arg)
{
    (void)arg;
    fail_msg("a destroyed timer went off");
}

static void timers_may_set_and_destroy_timers(void **state)
{
    struct net_loop *loop = *state;

    again_count = 0;
    again_timer = net_timer_create(loop, again, NULL);
    other_timer = net_timer_create(loop, never, NULL);
    net_timer_set(again_timer, 0);
    net_timer_set(other_timer, 3600000);
    UNTIL(loop, again_count == 100);
    assert_null(other_timer);
    net_timer_destroy(again_timer);
}

struct putter {
    struct net_deferred deferred;
    int count, again;
    struct net_loop *loop;
};

static void deferred_fn(struct net_deferred *deferred)
{
    struct putter *putter = LIST_ENTRY(deferred, struct putter, deferred);

    putter->count++;
    if (putter->again-- > 0)
        net_defer(putter->loop, deferred);
}

static void deferred_work_comes_once_and_later(void **state)
{
    struct net_loop *loop = *state;
    struct putter a = {.loop = loop}, b = {.loop = loop, .again = 2};

    net_deferred_init(&a.deferred, deferred_fn);
    net_deferred_init(&b.deferred, deferred_fn);
    net_defer(loop, &a.deferred);
    net_defer(loop, &a.deferred);
    net_defer(loop, &b.deferred);
    assert_int_equal(a.count, 0);
    net_loop_turn(loop);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 1);
    UNTIL(loop, b.count == 3);
    net_defer(loop, &a.deferred);
    net_deferred_cancel(&a.deferred);
    step(loop);
    assert_int_equal(a.count, 1);
}

/* --- posts ----------------------------------------------------------------------------------- */

enum { THREADS = 4, POSTS = 20000 };

struct poster {
    struct net_loop *loop;
    pthread_t thread;
    size_t next; /* the number that the loop expects */
};

struct ticket {
    struct poster *poster;
    size_t number;
};

static size_t posts_seen;

static void take(void *arg)
{
    struct poster *poster = ((struct ticket *)arg)->poster;
    struct net_loop *loop = poster->loop;
    struct ticket *ticket = arg;

    assert_int_equal(ticket->number, poster->next);
    poster->next++;
    free(ticket);
    if (++posts_seen == (size_t)THREADS * POSTS)
        net_loop_stop(loop);
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;

    for (size_t i = 0; i < POSTS; i++) {
        struct ticket *ticket = malloc(sizeof *ticket);

        *ticket = (struct ticket){poster, i};
        if (!net_post(poster->loop, take, ticket))
            abort();
    }
    return NULL;
}

static void posts_come_from_threads_in_order(void **state)
{
    struct poster posters[THREADS] = {0};

    posts_seen = 0;
    for (size_t i = 0; i < THREADS; i++) {
        posters[i].loop = *state;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    net_loop_run(*state);
    assert_int_equal(posts_seen, (size_t)THREADS * POSTS);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(posters[i].next, POSTS);
    }
}

static void *stop_it(void *loop)
{
    net_loop_stop(loop);
    return NULL;
}

static void a_stop_from_another_thread_is_never_lost(void **state)
{
    for (int i = 0; i < 100; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, stop_it, *state), 0);
        if (i % 2)
            pthread_join(thread, NULL); /* before it runs */
        net_loop_run(*state);
        if (i % 2 == 0)
            pthread_join(thread, NULL);
    }
}

static void count_up(void *arg)
{
    ++*(int *)arg;
}

static void what_was_posted_is_called_even_at_the_end(void **state)
{
    struct net_loop *loop;
    int count = 0;

    (void)state;
    assert_int_equal(net_loop_create(&loop, NULL), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(net_post(loop, count_up, &count));
    assert_int_equal(count, 0);
    net_loop_destroy(loop);
    assert_int_equal(count, 1000);
}

struct piece_of_work {
    int done, told; /* each by its own thread */
};

static void work_at(void *arg)
{
    ((struct piece_of_work *)arg)->done++;
}

static void tell_of(void *arg)
{
    struct piece_of_work *piece = arg;

    assert_int_equal(piece->done, piece->told + 1);
    piece->told++;
}

static void work_is_done_elsewhere_and_told_here(void **state)
{
    enum { PIECES = 20 };
    struct piece_of_work pieces[PIECES] = {0};
    struct net_loop *loop;

    assert_true(net_work(*state, work_at, tell_of, &pieces[0]));
    assert_int_equal(pieces[0].told, 0);
    UNTIL(*state, pieces[0].told == 1);
    assert_int_equal(net_loop_create(&loop, NULL), 0);
    for (size_t i = 0; i < PIECES; i++)
        assert_true(net_work(loop, work_at, tell_of, &pieces[i]));
    net_loop_destroy(loop); /* what was begun ends */
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(pieces[i].told, i ? 1 : 2);
}

/* --- signals, descriptors -------------------------------------------------------------------- */

static int signal_seen;

static void on_signal(void *arg, int signum)
{
    ++*(int *)arg;
    signal_seen = signum;
}

static void signals_arrive(void **state)
{
    struct net_loop *loop = *state;
    int count = 0;
    struct net_signal *signal = net_signal_create(loop, SIGUSR1, on_signal, &count);

    assert_non_null(signal);
    raise(SIGUSR1);
    UNTIL(loop, count == 1);
    assert_int_equal(signal_seen, SIGUSR1);
    raise(SIGUSR1);
    UNTIL(loop, count == 2);
    net_signal_destroy(signal);
    net_signal_destroy(NULL);
    assert_null(net_signal_create(loop, SIGKILL, on_signal, &count));
}

struct pipe_watch {
    int fds[2], bytes;
};

static void on_readable(void *arg)
{
    struct pipe_watch *w = arg;
    char byte;

    if (read(w->fds[0], &byte, 1) == 1) /* one at a time: the watch is level-triggered */
        w->bytes++;
}

static void descriptors_are_watched(void **state)
{
    struct net_loop *loop = *state;
    struct pipe_watch w = {0};
    struct net_watch *watch;

    assert_int_equal(pipe2(w.fds, O_NONBLOCK), 0);
    watch = net_watch_create(loop, w.fds[0], on_readable, &w);
    assert_non_null(watch);
    step(loop);
    assert_int_equal(w.bytes, 0);
    assert_int_equal(write(w.fds[1], "abc", 3), 3);
    UNTIL(loop, w.bytes == 3);
    net_watch_destroy(watch);
    close(w.fds[0]);
    close(w.fds[1]);
    net_watch_destroy(NULL);
    step(loop);
}

static void the_date_is_http_s(void **state)
{
    const char *date = net_loop_date(*state);
    struct tm tm = {0};
    char *end = strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);

    assert_int_equal(strlen(date), 29);
    assert_non_null(end);
    assert_int_equal(*end, '\0');
    assert_true(timegm(&tm) <= time(NULL) && timegm(&tm) >= time(NULL) - 5);
}

/* Each errno of a socket as what it says of the way there (protocol 3.3). */
static void sorts_failures(void **state)
{
    static const struct {
        int error;
        enum net_failure failure;
    } rows[] = {
        {ECONNREFUSED, NET_TCP},  {ECONNRESET, NET_TCP},    {ECONNABORTED, NET_TCP},
        {EPIPE, NET_TCP},         {ENETUNREACH, NET_TCP},   {EHOSTUNREACH, NET_TCP},
        {EADDRNOTAVAIL, NET_TCP}, {ETIMEDOUT, NET_TIMEOUT}, {EAGAIN, NET_TEMPORARY},
        {EINTR, NET_TEMPORARY},   {EMFILE, NET_TEMPORARY},  {ENFILE, NET_TEMPORARY},
        {ENOBUFS, NET_TEMPORARY}, {ENOMEM, NET_TEMPORARY},  {EPERM, NET_FORBIDDEN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (net_failure_of(-rows[i].error) != rows[i].failure)
            fail_msg("%s", strerror(rows[i].error));
    }
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(timers_go_off_in_order),
        T(timers_may_set_and_destroy_timers),
        T(deferred_work_comes_once_and_later),
        T(posts_come_from_threads_in_order),
        T(a_stop_from_another_thread_is_never_lost),
        cmocka_unit_test(what_was_posted_is_called_even_at_the_end),
        T(work_is_done_elsewhere_and_told_here),
        T(signals_arrive),
        T(descriptors_are_watched),
        T(the_date_is_http_s),
        cmocka_unit_test(sorts_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
