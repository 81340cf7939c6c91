// SPDX-License-Identifier: Apache-2.0
/*
 * Signed requests from strangers (wire/signature.h): lines "name: value" up to an empty one are
 * headers, the rest is the body. Nobody has the key but the seed that is a vector of the protocol,
 * so what verifies does not with one more byte in its body. The whole input is tried as a key, too.
 */
#include "fuzz.h"
#include "wire/signature.h"

#define CREATED_NS (INT64_C(1618884473) * 1000000000)

enum { FIELDS_MAX = 16, BODY_MAX = 65536 };

static size_t take_fields(struct slice *input, struct signature_field *fields)
{
    size_t count = 0;

    while (input->len && count < FIELDS_MAX) {
        const char *line = input->data;
        const char *end = memchr(line, '\n', input->len), *colon;
        size_t len = end ? (size_t)(end - line) : input->len;

        *input = slice(line + len + (end ? 1 : 0), input->len - len - (end ? 1 : 0));
        if (len == 0)
            break;
        colon = memchr(line, ':', len);
        if (colon)
            fields[count++] = (struct signature_field){
                slice(line, (size_t)(colon - line)),
                slice(colon + 1, (size_t)(line + len - colon - 1)),
            };
    }
    return count;
}

static void try_key(struct slice text)
{
    struct signature_public key, again;
    struct signature_private private;
    char pem[SIGNATURE_PEM_MAX];

    if (signature_read_public(text, &key)) {
        signature_write_pem(&key, pem);
        require(signature_read_public(slice_str(pem), &again));
        require(memcmp(&key, &again, sizeof key) == 0);
    }
    signature_read_private(text, &private);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char longer[BODY_MAX + 1];
    struct signature_field fields[FIELDS_MAX];
    struct slice input = slice(data, size);
    struct signature_request request = {.method = slice_str("POST"),
                                        .path = slice_str("/foo"),
                                        .query = slice_str("bar=1"),
                                        .authority = slice_str("example.com"),
                                        .fields = fields};
    struct signature_public key;
    struct error err = {0};
    int code;

    try_key(input);
    require(signature_read_public(slice_str("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="), &key));
    request.field_count = take_fields(&input, fields);
    request.body = input;
    code = signature_verify(&request, &key, CREATED_NS, &err);
    if (code) {
        require(code == CODE_UNAUTHENTICATED || code == CODE_PERMISSION_DENIED ||
                code == CODE_RESOURCE_EXHAUSTED);
        require(err.code == code && err.message[0]);
    } else if (input.len <= BODY_MAX) {
        memcpy(longer, input.data, input.len);
        request.body = slice(longer, input.len + 1);
        require(signature_verify(&request, &key, CREATED_NS, &err) == CODE_PERMISSION_DENIED);
    }
    return 0;
}
