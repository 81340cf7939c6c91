// SPDX-License-Identifier: Apache-2.0
/* Notes of the shell: as durable as calls are, and told whenever the store was loaded. */
#include "orchestrator/testing.h"

#include <stdio.h>
#include <stdlib.h>

/* What the shell was told last: "1=a 2=b". */
struct told {
    struct world w; /* first */
    unsigned times;
    char text[256];
};

static void take_notes(void *arg, const struct orchestrator_note *notes, size_t count)
{
    struct told *t = arg;
    int len = 0;

    t->times++;
    t->text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += snprintf(t->text + len, sizeof t->text - (size_t)len, "%s%u=%.*s", i ? " " : "",
                        (unsigned)notes[i].number, SLICE_FMT(notes[i].bytes));
}

static int setup(void **state)
{
    struct told *t = calloc(1, sizeof *t);

    assert_non_null(t);
    *state = t;
    t->w.options.notes = take_notes;
    t->w.options.notes_arg = t;
    world_init(&t->w);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    free(*state);
    return 0;
}

static void put(struct told *t, uint64_t number, const char *text, struct reply *reply)
{
    const struct orchestrator_note note = {number, slice_str(text)};

    *reply = (struct reply){0};
    orchestrator_put_note(t->w.o, &note, reply_cancelled, reply);
}

static void put_durably(struct told *t, uint64_t number, const char *text)
{
    struct reply reply;

    put(t, number, text, &reply);
    assert_int_equal(reply.count, 0); /* not before it is durable */
    world_settle(&t->w);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, 0);
}

static void reopen(struct told *t)
{
    for (int i = 0; i < 100 && !orchestrator_ready(t->w.o); i++)
        world_advance(&t->w, 100 * NS_PER_MS);
    assert_true(orchestrator_ready(t->w.o));
}

static void they_are_kept(void **state)
{
    struct told *t = *state;
    char id[ID_TEXT_LEN + 1];

    assert_int_equal(t->times, 1);
    assert_string_equal(t->text, "");
    put_durably(t, 1, "a");
    put_durably(t, 2, "b");
    put_durably(t, ORCHESTRATOR_NOTE_MAX, "last");
    put_durably(t, 1, "c");
    world_dispatch(&t->w, "f", "x", id); /* calls are in nobody's way */
    assert_int_equal(t->times, 1);
    world_restart(&t->w);
    assert_int_equal(t->times, 2);
    assert_string_equal(t->text, "1=c 2=b 4294967295=last");
    put_durably(t, 2, NULL);
    put_durably(t, 7, NULL); /* which never was */
    world_restart(&t->w);
    assert_string_equal(t->text, "1=c 4294967295=last");
    answer_ok(world_take_run(&t->w), "y");
    world_settle(&t->w);
    world_expect(&t->w, id, STATUS_OK, "y");
}

static void a_failed_commit_leaves_what_was(void **state)
{
    struct told *t = *state;
    struct reply reply;

    put_durably(t, 1, "a");
    t->w.faults.fail_commit_in = 1;
    put(t, 1, "b", &reply);
    world_settle(&t->w);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    reopen(t);
    assert_int_equal(t->times, 2);
    assert_string_equal(t->text, "1=a");
    /* One of which nobody knows: what is told is what is there. */
    t->w.faults.lose_commit_in = 1;
    put(t, 1, "c", &reply);
    world_settle(&t->w);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    reopen(t);
    assert_int_equal(t->times, 3);
    assert_string_equal(t->text, "1=c");
}

static void none_is_taken_while_closed(void **state)
{
    struct told *t = *state;
    struct reply reply;

    t->w.faults.fail_all = true;
    put(t, 1, "a", &reply);
    world_settle(&t->w);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    put(t, 1, "b", &reply);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.error.code, CODE_UNAVAILABLE);
    t->w.faults.fail_all = false;
    reopen(t);
    assert_string_equal(t->text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_commit_leaves_what_was, setup, teardown),
        cmocka_unit_test_setup_teardown(none_is_taken_while_closed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
