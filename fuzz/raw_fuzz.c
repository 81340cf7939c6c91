// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP messages that travel inside others (net/raw.c): what a fetcher is handed and what a
 * session's client answers. What can be read is written again, and then reads the same.
 */
#include "fuzz.h"
#include "net/net.h"

#define BODY_LIMIT ((size_t)1 << 14)

struct reading {
    struct slice body; /* that it should have */
    int status;
    bool again; /* this is the second time */
    bool taken;
};

static void check_again(struct blob *bytes, const struct net_response *first, bool response);

static void take_response(void *arg, const struct net_response *r)
{
    struct reading *reading = arg;
    struct blob *bytes;

    reading->taken = true;
    require(r->body.len <= BODY_LIMIT);
    if (reading->again) {
        require(r->status == reading->status && slice_eq(r->body, reading->body));
        return;
    }
    if (r->status < 200 || r->status == 204 || r->status == 304)
        return; /* have no body */
    bytes = net_raw_put_response(r->status, NULL, 0, r->body);
    require(bytes);
    check_again(bytes, r, true);
}

static void take_request(void *arg, const struct net_request *r)
{
    struct reading *reading = arg;
    struct net_outgoing out = {.host = slice_str("h"),
                               .port = 80,
                               .method = r->method,
                               .target = r->path,
                               .body = blob_copy(r->body)};
    struct net_response same = {.body = r->body};
    struct blob *bytes;

    reading->taken = true;
    require(r->body.len <= BODY_LIMIT && r->method.len > 0);
    if (reading->again) {
        require(slice_eq(r->body, reading->body));
    } else {
        bytes = net_raw_put_request(&out);
        if (bytes) /* else the target is too long */
            check_again(bytes, &same, false);
    }
    blob_unref(out.body);
}

static void check_again(struct blob *bytes, const struct net_response *first, bool response)
{
    struct reading again = {.body = first->body, .status = first->status, .again = true};

    if (response)
        require(!net_raw_response(blob_slice(bytes), BODY_LIMIT, take_response, &again, NULL));
    else
        require(!net_raw_request(blob_slice(bytes), BODY_LIMIT, take_request, &again, NULL));
    require(again.taken);
    blob_unref(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading reading = {0};
    struct error err = {0};
    int code;

    code = net_raw_response(slice(data, size), BODY_LIMIT, take_response, &reading, &err);
    require(code ? err.message[0] && !reading.taken : reading.taken);
    reading = (struct reading){0};
    code = net_raw_request(slice(data, size), BODY_LIMIT, take_request, &reading, &err);
    require(code ? err.message[0] && !reading.taken : reading.taken);
    return 0;
}
