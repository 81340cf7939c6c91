// SPDX-License-Identifier: Apache-2.0
/* The vectors of the protocol, and what becomes of a request when anything in it is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/clock.h"
#include "wire/signature_inner.h"

#define PRIVATE_BODY "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"
#define PUBLIC_TEXT  "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
#define HELLO        "{\"hello\": \"world\"}"
#define HELLO_512                                                                                  \
    "WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew=="
#define HELLO_256 "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="
#define SIGNATURE_B                                                                                \
    "iOL3B/MFE3NisJjCR123aKZ+VkueeOUQRhqCvF6vAt90FJnlzXH0lu/zI8YqLTO6u6SA5LT6FJZMv2gpZ75UDA=="
#define SIGNATURE_C                                                                                \
    "rYUHc9AaiTM4/mch+ri4S4/fFdJiDnO830ukXo8/UmZxN/zatIznXyUN2yjOKzo/LGPkQeQ8JzBYsTIwiewwBw=="
#define COMPONENTS "(\"@method\" \"@path\" \"@authority\" \"content-type\" \"content-digest\")"
#define PARAMS     ";created=1618884473;keyid=\"default\";alg=\"ed25519\""
#define CREATED    INT64_C(1618884473)

static struct signature_private private_key;
static struct signature_public public_key;

static int read_keys(void **state)
{
    (void)state;
    assert_true(signature_read_private(
        slice_str("-----BEGIN PRIVATE KEY-----\n" PRIVATE_BODY "\n-----END PRIVATE KEY-----\n"),
        &private_key));
    assert_true(signature_read_public(slice_str(PUBLIC_TEXT), &public_key));
    return 0;
}

/* --- a request that can be touched ------------------------------------------------------------ */

enum { TYPE, DIGEST, INPUT, SIGNATURE, SPARE, FIELDS };

struct sample {
    struct signature_field fields[FIELDS];
    struct signature_request request;
};

static void set(struct sample *s, int field, const char *name, const char *value)
{
    s->fields[field] = (struct signature_field){slice_str(name), slice_str(value)};
}

/* Vector B. */
static void sample_b(struct sample *s)
{
    *s = (struct sample){.request = {.method = slice_str("POST"),
                                     .path = slice_str("/foo"),
                                     .query = slice_str("bar=1"),
                                     .authority = slice_str("example.com"),
                                     .body = slice_str(HELLO)}};
    set(s, TYPE, "content-type", "application/json");
    set(s, DIGEST, "content-digest", "sha-512=:" HELLO_512 ":");
    set(s, INPUT, "signature-input", "dispatch=" COMPONENTS PARAMS);
    set(s, SIGNATURE, "signature", "dispatch=:" SIGNATURE_B ":");
    set(s, SPARE, "x-other", "");
    s->request.fields = s->fields;
    s->request.field_count = FIELDS;
}

static void expect(const struct sample *s, int64_t now_ns, int code, const char *message)
{
    struct error err = {0};

    assert_int_equal(signature_verify(&s->request, &public_key, now_ns, &err), code);
    if (code) {
        assert_int_equal(err.code, code);
        if (!strstr(err.message, message))
            fail_msg("\"%s\" has no \"%s\"", err.message, message);
    }
}

static void good(const struct sample *s)
{
    expect(s, CREATED * NS_PER_S, 0, NULL);
}

static void denied(const struct sample *s, const char *message)
{
    expect(s, CREATED * NS_PER_S, CODE_PERMISSION_DENIED, message);
}

static void unauthenticated(const struct sample *s, const char *message)
{
    expect(s, CREATED * NS_PER_S, CODE_UNAUTHENTICATED, message);
}

/* Signs whatever the parameters cover, as another signer would. */
static void sign_as(struct sample *s, const char *input_text, char out[128])
{
    struct signature_input input;
    uint8_t bytes[SIGNATURE_BYTES];
    char text[96];
    struct error err;
    struct buf base;

    set(s, INPUT, "signature-input", input_text);
    buf_init(&base, 65536);
    assert_int_equal(signature_read_input(slice_str(input_text), &input, &err), 0);
    assert_int_equal(signature_base(&s->request, &input, &base, &err), 0);
    assert_int_equal(crypto_sign_detached(bytes, NULL, base.data, base.len, private_key.bytes), 0);
    sodium_bin2base64(text, sizeof text, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, 128, "%.*s=:%s:", SLICE_FMT(input.label), text);
    set(s, SIGNATURE, "signature", out);
    buf_free(&base);
    buf_free(&input.params);
}

/* --- vectors ---------------------------------------------------------------------------------- */

static void keys_are_read(void **state)
{
    struct signature_private private;
    struct signature_public public, again;
    char pem[SIGNATURE_PEM_MAX], bad[2048];
    static const uint8_t seed[] = {0x9f, 0x83, 0x62, 0xf8, 0x7a, 0x48, 0x4a, 0x95};

    (void)state;
    assert_memory_equal(private_key.bytes, seed, sizeof seed);
    signature_public_of(&private_key, &public);
    assert_memory_equal(&public, &public_key, sizeof public);

    signature_write_pem(&public_key, pem);
    assert_string_equal(pem, "-----BEGIN PUBLIC KEY-----\n"
                             "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n"
                             "-----END PUBLIC KEY-----\n");
    assert_true(signature_read_public(slice_str(pem), &again));
    assert_memory_equal(&again, &public_key, sizeof again);
    memset(&again, 0, sizeof again);
    assert_true(signature_read_public(
        slice_str(" -----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAJrQLj5P/"
                  "89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\\n-----END PUBLIC KEY-----\\n"),
        &again));
    assert_memory_equal(&again, &public_key, sizeof again);

    /* The form of the original's test keys: seed and public key. */
    assert_true(
        signature_read_private(slice_str("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcUmtAuPk//"
                                         "z2JcRL368WCsjLb1yUX0IL+g8+zDdzkPRuw=="),
                               &private));
    assert_memory_equal(&private, &private_key, sizeof private);

    assert_false(signature_read_public(slice_str(""), &again));
    assert_false(signature_read_public(slice_str("JrQLj5P"), &again));
    assert_false(signature_read_public(slice_str(PUBLIC_TEXT "AAAA"), &again));
    assert_false(signature_read_public(slice_str("not a key, whatever it is"), &again));
    assert_false(signature_read_public(slice_str("-----BEGIN PUBLIC KEY-----"), &again));
    assert_false(signature_read_public(
        slice_str("-----BEGIN PUBLIC KEY-----\n" PRIVATE_BODY "\n-----END PUBLIC KEY-----\n"),
        &again));
    assert_false(signature_read_private(slice_str(PUBLIC_TEXT "AAAA"), &private));
    memset(bad, 'A', sizeof bad);
    assert_false(signature_read_public(slice(bad, sizeof bad), &again));
}

/* The RFC's own vector: its signature is good, but not of our key's name. */
static void vector_a(void **state)
{
    struct sample s;
    char signature[128];
    static const char params[] =
        "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" "
        "\"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";

    (void)state;
    sample_b(&s);
    s.request.query = slice_str("param=Value&Pet=dog");
    set(&s, DIGEST, "date", "Tue, 20 Apr 2021 02:07:55 GMT");
    set(&s, SPARE, "content-length", "18");
    sign_as(&s, params, signature);
    assert_string_equal(signature, "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04"
                                   "v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:");
    unauthenticated(&s, "public key 'test-key-ed25519' not available");
}

static void vector_b(void **state)
{
    struct signature_headers headers;
    struct sample s;
    struct error err;

    (void)state;
    sample_b(&s);
    good(&s);
    assert_int_equal(signature_sign(&s.request, &private_key, CREATED, &headers, &err), 0);
    assert_string_equal(headers.content_digest, "sha-512=:" HELLO_512 ":");
    assert_string_equal(headers.signature_input, "dispatch=" COMPONENTS PARAMS);
    assert_string_equal(headers.signature, "dispatch=:" SIGNATURE_B ":");
}

static void vector_c(void **state)
{
    static const uint8_t body[] = {0x0a, 0x05, 'g', 'r', 'e', 'e', 't', 0x22, 0x01, '1'};
    struct signature_headers headers;
    struct sample s;
    struct error err;

    (void)state;
    sample_b(&s);
    s.request.path = slice_str("/dispatch.sdk.v1.FunctionService/Run");
    s.request.query = slice(NULL, 0);
    s.request.authority = slice_str("Example.com:8000"); /* case does not count */
    s.request.body = slice(body, sizeof body);
    set(&s, TYPE, "content-type", " application/proto ");
    assert_int_equal(signature_sign(&s.request, &private_key, CREATED, &headers, &err), 0);
    assert_string_equal(headers.content_digest,
                        "sha-512=:o/4YWA/XGq12gKikuFBKHRlSWt408PfjsVwiD3U2UBbtILlYpdbHsw7DnbwdMca82"
                        "mkd08Z6o5nz3tfHhxcPKA==:");
    assert_string_equal(headers.signature, "dispatch=:" SIGNATURE_C ":");
    set(&s, DIGEST, "content-digest", headers.content_digest);
    set(&s, INPUT, "signature-input", headers.signature_input);
    set(&s, SIGNATURE, "signature", headers.signature);
    good(&s);
}

static void the_longest_time_fits(void **state)
{
    struct signature_headers headers;
    struct sample s;
    struct error err;

    (void)state;
    sample_b(&s);
    assert_int_equal(signature_sign(&s.request, &private_key, 999999999999999, &headers, &err), 0);
    assert_non_null(strstr(headers.signature_input, "999999999999999;keyid"));
    s.request.field_count = 0;
    assert_int_equal(signature_sign(&s.request, &private_key, CREATED, &headers, &err),
                     CODE_INVALID_ARGUMENT);
}

/* --- what others may do differently ----------------------------------------------------------- */

static void other_signers_verify(void **state)
{
    struct sample s;
    char signature[128];

    (void)state;
    /* Any order of components and of parameters, any label, more components, more space. */
    sample_b(&s);
    sign_as(&s,
            "sig1=(\"content-digest\" \"@authority\" \"content-type\" \"@method\" \"@path\")"
            ";alg=\"ed25519\";keyid=\"default\";created=1618884473",
            signature);
    good(&s);
    sample_b(&s);
    sign_as(&s,
            "dispatch=(\"@query\" \"@method\" \"@path\" \"@authority\" \"x-other\" \"content-type\""
            " \"content-digest\");created=1618884473;expires=1618884500;keyid=\"default\";"
            "nonce=\"b3k2pp5k7z\";tag=\"run\"",
            signature);
    good(&s);
    sample_b(&s);
    set(&s, INPUT, "signature-input",
        " dispatch=( \"@method\"   \"@path\" \"@authority\" \"content-type\" \"content-digest\" )"
        "; created=1618884473;  keyid=\"default\"; alg=\"ed25519\"  ");
    good(&s);
    /* An empty path is "/". */
    sample_b(&s);
    s.request.path = slice_str("");
    sign_as(&s, "dispatch=" COMPONENTS PARAMS, signature);
    s.request.path = slice_str("/");
    good(&s);
}

static void digests(void **state)
{
    static const struct {
        const char *text, *message;
        int code;
    } cases[] = {
        {"sha-256=:" HELLO_256 ":", NULL, 0},
        {"sha-256=:" HELLO_256 ":, sha-512=:" HELLO_512 ":", NULL, 0},
        {"unknown=:AAAA:, sha-512=:" HELLO_512 ":", NULL, 0},
        /* The stronger one counts. */
        {"sha-512=:" HELLO_512 ":,sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:", NULL, 0},
        {"sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:",
         "digest of the request body does not match the Content-Digest header",
         CODE_PERMISSION_DENIED},
        {"md5=:AAAA:", "no digest by sha-512", CODE_UNAUTHENTICATED},
        {"sha-512=:AAAA:", "malformed Content-Digest", CODE_UNAUTHENTICATED},
        {"sha-512=" HELLO_512, "malformed Content-Digest", CODE_UNAUTHENTICATED},
        {"sha-512=:" HELLO_512 ":,sha-512=:" HELLO_512 ":", "malformed Content-Digest",
         CODE_UNAUTHENTICATED},
        {"sha-512=:" HELLO_512 ":,", "malformed Content-Digest", CODE_UNAUTHENTICATED},
        {"", "malformed Content-Digest", CODE_UNAUTHENTICATED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sample s;
        char signature[128];

        sample_b(&s);
        set(&s, DIGEST, "content-digest", cases[i].text);
        sign_as(&s, "dispatch=" COMPONENTS PARAMS, signature);
        expect(&s, CREATED * NS_PER_S, cases[i].code, cases[i].message);
    }
}

/* --- what is refused -------------------------------------------------------------------------- */

static void tampered(void **state)
{
    struct signature_private other;
    struct signature_public wrong;
    struct sample s;
    struct error err;
    static const uint8_t seed[32] = {1};

    (void)state;
    sample_b(&s);
    s.request.method = slice_str("PUT");
    denied(&s, "invalid signature");
    sample_b(&s);
    s.request.path = slice_str("/fooo");
    denied(&s, "invalid signature");
    sample_b(&s);
    s.request.authority = slice_str("example.com:443");
    denied(&s, "invalid signature");
    sample_b(&s);
    set(&s, TYPE, "content-type", "application/proto");
    denied(&s, "invalid signature");
    sample_b(&s);
    set(&s, DIGEST, "content-digest", "sha-256=:" HELLO_256 ":");
    denied(&s, "invalid signature");
    sample_b(&s);
    set(&s, INPUT, "signature-input",
        "dispatch=" COMPONENTS ";created=1618884474;keyid=\"default\";alg=\"ed25519\"");
    denied(&s, "invalid signature");
    sample_b(&s);
    s.request.body = slice_str("{\"hello\": \"World\"}");
    denied(&s, "digest of the request body does not match the Content-Digest header");
    sample_b(&s);
    s.request.body = slice(NULL, 0);
    denied(&s, "digest of the request body does not match the Content-Digest header");
    sample_b(&s);
    signature_from_seed(seed, &other);
    signature_public_of(&other, &wrong);
    assert_int_equal(signature_verify(&s.request, &wrong, CREATED * NS_PER_S, &err),
                     CODE_PERMISSION_DENIED);
    assert_string_equal(err.message, "invalid signature");
}

static void times(void **state)
{
    struct sample s;
    char signature[128];

    (void)state;
    sample_b(&s);
    expect(&s, (CREATED - 5) * NS_PER_S, 0, NULL);
    expect(&s, (CREATED - 5) * NS_PER_S - 1, CODE_PERMISSION_DENIED, "in the future");
    expect(&s, (CREATED + 305) * NS_PER_S, 0, NULL);
    expect(&s, (CREATED + 305) * NS_PER_S + 1, CODE_PERMISSION_DENIED, "too old");
    sign_as(&s, "dispatch=" COMPONENTS ";keyid=\"default\"", signature);
    denied(&s, "when it was created");
    sign_as(&s, "dispatch=" COMPONENTS PARAMS ";expires=1618884480", signature);
    expect(&s, (CREATED + 12) * NS_PER_S, 0, NULL);
    expect(&s, (CREATED + 12) * NS_PER_S + 1, CODE_PERMISSION_DENIED, "expired");
    sign_as(&s, "dispatch=" COMPONENTS ";created=999999999999999;keyid=\"default\"", signature);
    denied(&s, "in the future");
    sign_as(&s, "dispatch=" COMPONENTS ";created=-999999999999999;keyid=\"default\"", signature);
    denied(&s, "too old");
}

static void parameters(void **state)
{
    struct sample s;
    char signature[128];

    (void)state;
    sample_b(&s);
    sign_as(&s, "dispatch=" COMPONENTS ";created=1618884473;keyid=\"default\";alg=\"rsa-v1_5\"",
            signature);
    denied(&s, "'rsa-v1_5', not 'ed25519'");
    sign_as(&s, "dispatch=" COMPONENTS ";created=1618884473;keyid=\"other\"", signature);
    unauthenticated(&s, "public key 'other' not available");
    sign_as(&s, "dispatch=" COMPONENTS ";created=1618884473;alg=\"ed25519\"", signature);
    unauthenticated(&s, "has no keyid");
}

static void coverage(void **state)
{
    static const struct {
        const char *components, *message;
    } cases[] = {
        {"\"@path\" \"@authority\" \"content-type\" \"content-digest\"", "'@method'"},
        {"\"@method\" \"@authority\" \"content-type\" \"content-digest\"", "'@path'"},
        {"\"@method\" \"@path\" \"content-type\" \"content-digest\"", "'@authority'"},
        {"\"@method\" \"@path\" \"@authority\" \"content-digest\"", "'content-type'"},
        {"\"@method\" \"@path\" \"@authority\" \"content-type\"", "'content-digest'"},
        {"", "'@method'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sample s;
        char input[256], signature[128], message[64];

        sample_b(&s);
        snprintf(input, sizeof input, "dispatch=(%s)" PARAMS, cases[i].components);
        snprintf(message, sizeof message, "does not cover %s", cases[i].message);
        sign_as(&s, input, signature);
        unauthenticated(&s, message);
    }
}

static void missing_and_doubled(void **state)
{
    struct sample s;

    (void)state;
    sample_b(&s);
    set(&s, INPUT, "x", "");
    denied(&s, "missing Signature-Input header");
    sample_b(&s);
    set(&s, SIGNATURE, "x", "");
    denied(&s, "missing Signature header");
    sample_b(&s);
    set(&s, TYPE, "x", "");
    denied(&s, "'content-type', which is missing");
    sample_b(&s);
    set(&s, DIGEST, "x", "");
    denied(&s, "'content-digest', which is missing");
    sample_b(&s); /* in one line, and in two */
    set(&s, INPUT, "signature-input", "dispatch=" COMPONENTS PARAMS ", second=" COMPONENTS PARAMS);
    denied(&s, "more than one signature");
    sample_b(&s);
    set(&s, SPARE, "signature-input", "dispatch=" COMPONENTS PARAMS);
    denied(&s, "more than one signature");
    sample_b(&s);
    set(&s, SPARE, "signature", "dispatch=:" SIGNATURE_B ":");
    denied(&s, "more than one signature");
    sample_b(&s);
    set(&s, SIGNATURE, "signature", "other=:" SIGNATURE_B ":");
    denied(&s, "no signature 'dispatch'");
}

static void malformed(void **state)
{
    static const char *const inputs[] = {
        "",
        "dispatch",
        "dispatch=",
        "dispatch=(",
        "dispatch=()x",
        "dispatch=(\"@method\"",
        "dispatch=(\"@method\"\"@path\")" PARAMS,
        "dispatch=(\"@method\" \"@method\")" PARAMS,
        "dispatch=(@method)" PARAMS,
        "dispatch=(\"a\\\"b\")" PARAMS,
        "dispatch=(\"content-type\";sf)" PARAMS,
        "Dispatch=" COMPONENTS PARAMS,
        "dispatch=" COMPONENTS PARAMS ",",
        "dispatch=" COMPONENTS ";created",
        "dispatch=" COMPONENTS ";created=",
        "dispatch=" COMPONENTS ";created=1618884473.0",
        "dispatch=" COMPONENTS ";created=1111111111111111",
        "dispatch=" COMPONENTS ";created=\"1618884473\"",
        "dispatch=" COMPONENTS ";created=1618884473;created=1618884473",
        "dispatch=" COMPONENTS ";keyid=default",
        "dispatch=" COMPONENTS ";x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;x=1;"
        "x=1",
        "dispatch=(\"1\" \"2\" \"3\" \"4\" \"5\" \"6\" \"7\" \"8\" \"9\" \"10\" \"11\" \"12\" "
        "\"13\" \"14\" \"15\" \"16\" \"17\" \"18\" \"19\" \"20\" \"21\" \"22\" \"23\" \"24\" "
        "\"25\" \"26\" \"27\" \"28\" \"29\" \"30\" \"31\" \"32\" \"33\")" PARAMS,
    };
    static const char *const signatures[] = {
        "",
        "dispatch",
        "dispatch=",
        "dispatch=:",
        "dispatch=x",
        "dispatch=:AAAA:",
        "dispatch=::",
        "dispatch=:" SIGNATURE_B ":x",
        "dispatch=:" SIGNATURE_B SIGNATURE_B ":",
    };
    static char longest[9000];
    struct sample s;

    (void)state;
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        sample_b(&s);
        set(&s, INPUT, "signature-input", inputs[i]);
        denied(&s, "malformed Signature-Input");
    }
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        sample_b(&s);
        set(&s, SIGNATURE, "signature", signatures[i]);
        denied(&s, "malformed Signature header");
    }
    sample_b(&s);
    memset(longest, 'x', sizeof longest - 1);
    set(&s, INPUT, "signature-input", longest);
    denied(&s, "too long");
    sample_b(&s);
    set(&s, INPUT, "signature-input", "dispatch=(\"@target-uri\")" PARAMS);
    denied(&s, "'@target-uri', which is not supported");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read),
        cmocka_unit_test(vector_a),
        cmocka_unit_test(vector_b),
        cmocka_unit_test(vector_c),
        cmocka_unit_test(the_longest_time_fits),
        cmocka_unit_test(other_signers_verify),
        cmocka_unit_test(digests),
        cmocka_unit_test(tampered),
        cmocka_unit_test(times),
        cmocka_unit_test(parameters),
        cmocka_unit_test(coverage),
        cmocka_unit_test(missing_and_doubled),
        cmocka_unit_test(malformed),
    };

    return cmocka_run_group_tests(tests, read_keys, NULL);
}
