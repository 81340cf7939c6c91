// SPDX-License-Identifier: Apache-2.0
//
// An application in C++17, built against the installed library: registers a function, and has an
// endpoint run it.
#include <dispatch_sdk.h>

#include <cstdio>
#include <future>
#include <string>
#include <string_view>

namespace {

dispatch_result greet(dispatch_ctx *ctx, dispatch_value input)
{
    std::size_t size = 0;
    const char *name = dispatch_as_string(input, &size);

    if (!name)
        return dispatch_fail(ctx, DISPATCH_INVALID_ARGUMENT, "Input", "a name is needed");
    return dispatch_ok(dispatch_string(dispatch_printf(ctx, "Hello, %s!", name)));
}

DISPATCH_REGISTER(greet);

void done(void *arg, const dispatch_reply *reply)
{
    static_cast<std::promise<std::string> *>(arg)->set_value(
        std::string(static_cast<const char *>(reply->body), reply->size));
}

bool is(std::string_view what, bool condition)
{
    if (!condition)
        std::fprintf(stderr, "app.cc: not so: %.*s\n", static_cast<int>(what.size()), what.data());
    return condition;
}

} // namespace

int main()
{
    dispatch_endpoint *endpoint = nullptr;
    dispatch_failure failure = {};
    dispatch_run_request request = {};
    std::promise<std::string> answered;
    void *bytes = nullptr;
    std::size_t size = 0;

    request.function = "greet";
    request.input = dispatch_string("World");
    if (!is("packed", dispatch_run_request_pack(&request, &bytes, &size, &failure) == 0) ||
        !is("created", dispatch_endpoint_create(nullptr, &endpoint, &failure) == 0)) {
        std::fprintf(stderr, "%s\n", failure.message);
        return 1;
    }
    dispatch_endpoint_handle(endpoint, bytes, size, done, &answered);

    std::string body = answered.get_future().get();
    dispatch_response response = {};
    bool ok = is("unpacked", dispatch_response_unpack(body.data(), body.size(), &response,
                                                      &failure) == 0);

    ok = ok && is("ended well", response.status == DISPATCH_OK && response.result) &&
         is("greeted", std::string_view(dispatch_as_string(response.result->output, nullptr)) ==
                           "Hello, World!");
    dispatch_response_free(&response);
    dispatch_bytes_free(bytes);
    dispatch_endpoint_destroy(endpoint);
    return ok ? 0 : 1;
}
