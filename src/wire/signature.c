// SPDX-License-Identifier: Apache-2.0
/*
 * Signing and verifying. Both make the same bytes of a request and of what is to be covered, a line
 * a component and one for the parameters, and sign or verify those; the digest of the body is one
 * of the components.
 */
#include "wire/signature.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "wire/signature_inner.h"

#define BASE_MAX ((size_t)128 << 10)
#define KEYID    "default"
#define ALG      "ed25519"

enum { REQUIRED = 5 };

static const char *const required[REQUIRED] = {"@method", "@path", "@authority", "content-type",
                                               "content-digest"};

/* --- the bytes that are signed ---------------------------------------------------------------- */

static struct slice trim(struct slice s)
{
    const char *p = s.data;

    while (s.len > 0 && (p[s.len - 1] == ' ' || p[s.len - 1] == '\t'))
        s.len--;
    while (s.len > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        s.len--;
    }
    return slice(p, s.len);
}

bool signature_join(const struct signature_request *request, struct slice name, struct buf *value)
{
    bool found = false;

    for (size_t i = 0; i < request->field_count; i++) {
        if (!slice_eq(request->fields[i].name, name))
            continue;
        if (found)
            buf_append_str(value, ", ");
        found = true;
        buf_append_slice(value, trim(request->fields[i].value));
    }
    return found;
}

static void append_lower(struct buf *out, struct slice text)
{
    const char *p = text.data;

    for (size_t i = 0; i < text.len; i++)
        buf_append_byte(out, (uint8_t)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] + ('a' - 'A') : p[i]));
}

static int append_derived(const struct signature_request *request, struct slice name,
                          struct buf *out, struct error *err)
{
    if (slice_eq_str(name, "@method")) {
        buf_append_slice(out, request->method);
    } else if (slice_eq_str(name, "@path")) {
        buf_append_slice(out, request->path.len ? request->path : slice_str("/"));
    } else if (slice_eq_str(name, "@authority")) {
        append_lower(out, request->authority);
    } else if (slice_eq_str(name, "@query")) {
        buf_append_byte(out, '?');
        buf_append_slice(out, request->query);
    } else {
        return error_set(err, CODE_PERMISSION_DENIED,
                         "the signature covers '%.*s', which is not supported", SLICE_FMT(name));
    }
    return 0;
}

int signature_base(const struct signature_request *request, const struct signature_input *input,
                   struct buf *out, struct error *err)
{
    for (size_t i = 0; i < input->component_count; i++) {
        struct slice name = input->components[i];

        buf_printf(out, "\"%.*s\": ", SLICE_FMT(name));
        if (name.len > 0 && *(const char *)name.data == '@') {
            int code = append_derived(request, name, out, err);

            if (code)
                return code;
        } else if (!signature_join(request, name, out)) {
            return error_set(err, CODE_PERMISSION_DENIED,
                             "the signature covers the header '%.*s', which is missing",
                             SLICE_FMT(name));
        }
        buf_append_byte(out, '\n');
    }
    buf_append_str(out, "\"@signature-params\": ");
    buf_append_slice(out, buf_slice(&input->params));
    return out->failed ? error_memory(err) : 0;
}

static void digest(enum signature_digest kind, struct slice body, uint8_t out[64])
{
    const uint8_t *bytes = body.len ? body.data : (const uint8_t *)"";

    if (kind == SIGNATURE_SHA512)
        crypto_hash_sha512(out, bytes, body.len);
    else
        crypto_hash_sha256(out, bytes, body.len);
}

/* --- signing ---------------------------------------------------------------------------------- */

static bool write_digest(struct slice body, char *out, size_t size)
{
    char text[sodium_base64_ENCODED_LEN(64, sodium_base64_VARIANT_ORIGINAL)];
    uint8_t bytes[64];

    digest(SIGNATURE_SHA512, body, bytes);
    sodium_bin2base64(text, sizeof text, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
    return snprintf(out, size, "sha-512=:%s:", text) < (int)size;
}

static void write_input(char *out, size_t size, int64_t created)
{
    int len = snprintf(out, size, "dispatch=(");

    for (size_t i = 0; i < REQUIRED; i++)
        len += snprintf(out + len, size - (size_t)len, "%s\"%s\"", i ? " " : "", required[i]);
    snprintf(out + len, size - (size_t)len,
             ");created=%" PRId64 ";keyid=\"" KEYID "\";alg=\"" ALG "\"", created);
}

/* The request's content type and our digest are all that is signed of the headers. */
static int sign_base(const struct signature_request *request, const struct signature_private *key,
                     const struct signature_headers *headers, uint8_t out[SIGNATURE_BYTES],
                     struct error *err)
{
    struct signature_field fields[2] = {
        {slice_str("content-type"), {0}},
        {slice_str("content-digest"), slice_str(headers->content_digest)}};
    struct signature_request shown = *request;
    struct signature_input input;
    struct buf base, type;
    int code = signature_read_input(slice_str(headers->signature_input), &input, err);

    buf_init(&base, BASE_MAX);
    buf_init(&type, SIGNATURE_FIELD_MAX);
    if (!code && !signature_join(request, slice_str("content-type"), &type))
        code = error_set(err, CODE_INVALID_ARGUMENT, "a request is signed with its content-type");
    fields[0].value = buf_slice(&type);
    shown.fields = fields;
    shown.field_count = 2;
    if (!code)
        code = type.failed ? error_memory(err) : signature_base(&shown, &input, &base, err);
    if (!code)
        crypto_sign_detached(out, NULL, base.data, base.len, key->bytes);
    buf_free(&type);
    buf_free(&base);
    buf_free(&input.params);
    return code;
}

int signature_sign(const struct signature_request *request, const struct signature_private *key,
                   int64_t created, struct signature_headers *headers, struct error *err)
{
    char text[sodium_base64_ENCODED_LEN(SIGNATURE_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    struct signature_headers made;
    uint8_t bytes[SIGNATURE_BYTES];
    int code;

    if (!write_digest(request->body, made.content_digest, sizeof made.content_digest))
        return error_memory(err);
    write_input(made.signature_input, sizeof made.signature_input, created);
    code = sign_base(request, key, &made, bytes, err);
    if (code)
        return code;
    sodium_bin2base64(text, sizeof text, bytes, sizeof bytes, sodium_base64_VARIANT_ORIGINAL);
    snprintf(made.signature, sizeof made.signature, "dispatch=:%s:", text);
    *headers = made;
    return 0;
}

/* --- verifying -------------------------------------------------------------------------------- */

static int denied(struct error *err, const char *why)
{
    return error_set(err, CODE_PERMISSION_DENIED, "%s", why);
}

static int read_field(const struct signature_request *request, const char *name, const char *shown,
                      struct buf *value, struct error *err)
{
    if (!signature_join(request, slice_str(name), value))
        return error_set(err, CODE_PERMISSION_DENIED, "missing %s header", shown);
    if (value->failed)
        return error_set(err, CODE_PERMISSION_DENIED, "the %s header is too long", shown);
    return 0;
}

/* Of seconds that somebody wrote, which may be any number; saturating. */
static int64_t seconds_ns(int64_t seconds)
{
    const int64_t most = INT64_C(9000000000);

    if (seconds > most)
        seconds = most;
    return (seconds < -most ? -most : seconds) * NS_PER_S;
}

static int check_parameters(const struct signature_input *input, int64_t now_ns, struct error *err)
{
    int64_t skew = SIGNATURE_SKEW_S * NS_PER_S, created = seconds_ns(input->created);

    if (!input->has_created)
        return denied(err, "the signature does not say when it was created");
    if (created - skew > now_ns)
        return denied(err, "the signature was created in the future");
    if (created + SIGNATURE_AGE_S * NS_PER_S + skew < now_ns)
        return denied(err, "the signature is too old");
    if (input->has_expires && seconds_ns(input->expires) + skew < now_ns)
        return denied(err, "the signature has expired");
    if (input->has_alg && !slice_eq_str(input->alg, ALG))
        return error_set(err, CODE_PERMISSION_DENIED,
                         "the signature's algorithm is '%.*s', not '" ALG "'",
                         SLICE_FMT(input->alg));
    if (!input->has_keyid)
        return error_set(err, CODE_UNAUTHENTICATED,
                         "the signature does not name its key: it has "
                         "no keyid");
    if (!slice_eq_str(input->keyid, KEYID))
        return error_set(err, CODE_UNAUTHENTICATED, "public key '%.*s' not available",
                         SLICE_FMT(input->keyid));
    return 0;
}

static int check_signature(const struct signature_request *request,
                           const struct signature_input *input, const uint8_t bytes[],
                           const struct signature_public *key, struct error *err)
{
    struct buf base;
    int code;

    buf_init(&base, BASE_MAX);
    code = signature_base(request, input, &base, err);
    if (!code && crypto_sign_verify_detached(bytes, base.data, base.len, key->bytes))
        code = denied(err, "invalid signature");
    buf_free(&base);
    return code;
}

static int check_coverage(const struct signature_input *input, struct error *err)
{
    for (size_t i = 0; i < REQUIRED; i++) {
        bool found = false;

        for (size_t j = 0; j < input->component_count; j++)
            found |= slice_eq_str(input->components[j], required[i]);
        if (!found)
            return error_set(err, CODE_UNAUTHENTICATED, "the signature does not cover '%s'",
                             required[i]);
    }
    return 0;
}

static int check_digest(const struct signature_request *request, struct error *err)
{
    enum signature_digest kind = SIGNATURE_NO_DIGEST;
    uint8_t wanted[64], actual[64];
    struct buf text;
    bool good;

    buf_init(&text, SIGNATURE_FIELD_MAX);
    signature_join(request, slice_str("content-digest"), &text);
    good = !text.failed && signature_read_digest(buf_slice(&text), &kind, wanted);
    buf_free(&text);
    if (!good)
        return error_set(err, CODE_UNAUTHENTICATED, "malformed Content-Digest header");
    if (kind == SIGNATURE_NO_DIGEST)
        return error_set(err, CODE_UNAUTHENTICATED,
                         "the Content-Digest header has no digest by sha-512 or sha-256");
    digest(kind, request->body, actual);
    if (sodium_memcmp(wanted, actual, kind == SIGNATURE_SHA512 ? 64 : 32))
        return denied(err, "digest of the request body does not match the Content-Digest header");
    return 0;
}

int signature_verify(const struct signature_request *request, const struct signature_public *key,
                     int64_t now_ns, struct error *err)
{
    struct signature_input input = {0};
    uint8_t bytes[SIGNATURE_BYTES];
    struct buf parameters, text;
    int code;

    buf_init(&parameters, SIGNATURE_FIELD_MAX);
    buf_init(&text, SIGNATURE_FIELD_MAX);
    code = read_field(request, "signature-input", "Signature-Input", &parameters, err);
    if (!code)
        code = read_field(request, "signature", "Signature", &text, err);
    if (!code)
        code = signature_read_input(buf_slice(&parameters), &input, err);
    if (!code)
        code = signature_read_bytes(buf_slice(&text), input.label, bytes, err);
    if (!code)
        code = check_parameters(&input, now_ns, err);
    if (!code)
        code = check_signature(request, &input, bytes, key, err);
    if (!code)
        code = check_coverage(&input, err);
    if (!code)
        code = check_digest(request, err);
    buf_free(&input.params);
    buf_free(&parameters);
    buf_free(&text);
    return code;
}
