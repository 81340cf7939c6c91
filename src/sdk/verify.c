// SPDX-License-Identifier: Apache-2.0
/* Whether an HTTP request was signed by the orchestrator whose key an endpoint was given. */
#include <stdlib.h>

#include "base/clock.h"
#include "sdk/endpoint.h"

int sdk_verifier_create(const char *text, struct sdk_verifier **out,
                        struct dispatch_failure *failure)
{
    const char *from = "verification key";
    struct sdk_verifier *made;

    if (!text) {
        text = getenv("DISPATCH_VERIFICATION_KEY");
        from = "DISPATCH_VERIFICATION_KEY";
    }
    *out = NULL;
    if (!text || !*text)
        return 0;
    made = malloc(sizeof *made);
    if (!made)
        return sdk_fail_memory(failure);
    if (!signature_read_public(slice_str(text), &made->key)) {
        free(made);
        return sdk_fail(failure, CODE_INVALID_ARGUMENT, "invalid %s '%.300s'", from, text);
    }
    *out = made;
    return 0;
}

int sdk_verify(const struct sdk_verifier *verifier, const struct signature_request *request,
               struct error *err)
{
    if (!verifier)
        return 0;
    return signature_verify(request, &verifier->key, clock_now(clock_system()), err);
}

/* --- requests of other HTTP servers ----------------------------------------------------------- */

enum { HEADERS_MAX = 256, NAMES_MAX = 65536 };

static bool copy_name(struct arena *arena, const char *name, struct slice *out)
{
    char *copy = arena_dup(arena, slice_str(name));

    if (!copy)
        return false;
    for (char *p = copy; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    *out = slice_str(copy);
    return true;
}

static int to_signature_request(const struct dispatch_http_request *from, struct arena *arena,
                                struct signature_request *out, struct error *err)
{
    const char *target = from->target ? from->target : "";
    size_t path_len = strcspn(target, "?");
    struct signature_field *fields;

    if (from->header_count > HEADERS_MAX)
        return error_set(err, CODE_INVALID_ARGUMENT, "more than %d headers in a request",
                         HEADERS_MAX);
    fields = arena_zalloc(arena, from->header_count + 1, sizeof *fields);
    if (!fields)
        return error_memory(err);
    *out = (struct signature_request){.method = slice_str(from->method),
                                      .path = slice(target, path_len),
                                      .fields = fields,
                                      .field_count = from->header_count,
                                      .body = slice(from->body, from->size)};
    if (target[path_len])
        out->query = slice_str(target + path_len + 1);
    for (size_t i = 0; i < from->header_count; i++) {
        if (!copy_name(arena, from->headers[i].name, &fields[i].name))
            return error_memory(err);
        fields[i].value = slice_str(from->headers[i].value);
        if (slice_eq_str(fields[i].name, "host"))
            out->authority = fields[i].value;
    }
    return 0;
}

int sdk_verify_http(const struct sdk_verifier *verifier,
                    const struct dispatch_http_request *request, struct error *err)
{
    struct signature_request signed_request;
    struct arena arena;
    int code;

    if (!verifier)
        return 0;
    arena_init(&arena, NAMES_MAX + HEADERS_MAX * sizeof(struct signature_field));
    code = to_signature_request(request, &arena, &signed_request, err);
    if (!code)
        code = sdk_verify(verifier, &signed_request, err);
    arena_reset(&arena);
    return code;
}
