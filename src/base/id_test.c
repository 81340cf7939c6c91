// SPDX-License-Identifier: Apache-2.0
/* Golden texts, round trips, order, and every way to be refused. */
#include "base/id.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_golden(void **state)
{
    static const struct {
        struct id_parts parts;
        const char *text;
    } golden[] = {
        {{0, 0, 0}, "0000000000000000000000000"},
        {{1, 2, 3}, "0001000000000000200000003"},
        {{255, 123456789, UINT64_C(0x123456789)}, "007z00000003nqk8n04hmasw9"},
        {{0xabcde, UINT64_C(0x123456789abcdef0), UINT64_C(0xfedcba9876)},
         "nf6y14d2pf2dbsqqgzvebn63p"},
        {{ID_PARTITION_MAX, UINT64_MAX, ID_TAG_MAX}, "zzzzfzzzzzzzzzzzzzzzzzzzz"},
    };
    char text[ID_TEXT_LEN + 1];

    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        id_format(text, golden[i].parts);
        assert_string_equal(text, golden[i].text);
    }
}

static struct id_parts random_parts(struct rand *r)
{
    return (struct id_parts){
        .partition = (uint32_t)rand_below(r, ID_PARTITION_MAX + 1),
        .number = rand_u64(r) >> rand_below(r, 64),
        .tag = rand_below(r, ID_TAG_MAX + 1),
    };
}

static void test_round_trip_and_order(void **state)
{
    char text[ID_TEXT_LEN + 1], before[ID_TEXT_LEN + 1];
    struct id_parts parts, parsed, last;
    struct rand r;

    (void)state;
    rand_seed(&r, 5);
    last = random_parts(&r);
    for (int i = 0; i < 10000; i++) {
        parts = random_parts(&r);
        id_format(text, parts);
        assert_int_equal(strlen(text), ID_TEXT_LEN);
        assert_true(id_parse(slice_str(text), &parsed));
        assert_int_equal(parsed.partition, parts.partition);
        assert_true(parsed.number == parts.number);
        assert_true(parsed.tag == parts.tag);

        last.partition = parts.partition;
        id_format(before, last);
        if (last.number != parts.number)
            assert_int_equal(strcmp(before, text) < 0, last.number < parts.number);
        last = parts;
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "000000000000000000000000",   /* short */
        "00000000000000000000000000", /* long */
        "0000g00000000000000000000",  /* the 65th bit of the number */
        "0000z00000000000000000000",
        "000A000000000000000000000", /* upper case */
        "000000000000i000000000000", /* letters that Crockford's alphabet leaves out */
        "000000000000l000000000000",
        "000000000000o000000000000",
        "u000000000000000000000000",
        "000000000000000000000000 ",
        "0000-00000000000000000000",
        "00000000000000000000000\xc3\xa9",
    };
    struct id_parts parts = {1, 2, 3};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(id_parse(slice_str(bad[i]), &parts));
    assert_false(id_parse(slice("000000000000\0"
                                "000000000000",
                                25),
                          &parts));
    assert_false(id_parse((struct slice){0}, &parts));
    assert_int_equal(parts.partition, 1);
    assert_int_equal(parts.number, 2);
    assert_int_equal(parts.tag, 3);
}

/* Whatever single byte is changed, the text is refused or is another id: no two texts are one id.
 */
static void test_one_text_per_id(void **state)
{
    char text[ID_TEXT_LEN + 1], again[ID_TEXT_LEN + 1];
    struct id_parts parts;

    (void)state;
    for (size_t at = 0; at < ID_TEXT_LEN; at++) {
        for (int byte = 0; byte < 256; byte++) {
            id_format(text, (struct id_parts){1, 2, 3});
            text[at] = (char)byte;
            if (!id_parse(slice(text, ID_TEXT_LEN), &parts))
                continue;
            id_format(again, parts);
            assert_memory_equal(text, again, ID_TEXT_LEN);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_round_trip_and_order),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_one_text_per_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
