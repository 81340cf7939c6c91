// SPDX-License-Identifier: Apache-2.0
/*
 * C++: what may live across an await, and what may not.
 *
 *     build/dispatch server --insecure &
 *     DISPATCH_API_KEY=any build/examples/raii
 *     DISPATCH_API_KEY=any DISPATCH_REPLAY=always build/examples/raii
 *
 * Objects may: when a suspended stack is dropped, to be replayed later, it is unwound, and their
 * destructors run; the replay constructs them again. So an object must be one that can be made
 * twice: memory, yes; a lock, a transaction, an open file that was half written, no. A destructor
 * does not await, nor does anything below a noexcept function; catch (...) around an await throws
 * on. Exceptions do not leave a function: they end as an error there.
 */
#include <dispatch_sdk.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

std::atomic<int> made, gone;
std::mutex lock;
int asked; /* under the lock */

/* Counts its kind, to show that each one that is made goes. */
struct Counted {
    Counted()
    {
        made++;
    }
    ~Counted()
    {
        gone++;
    }
    Counted(const Counted &) = delete;
    Counted &operator=(const Counted &) = delete;
};

dispatch_result letter(dispatch_ctx *ctx, dispatch_value input)
{
    int64_t number = 0;

    dispatch_as_int(input, &number);
    return dispatch_ok(dispatch_string(dispatch_printf(ctx, "%c", 'a' + static_cast<int>(number))));
}

std::string spell(dispatch_ctx *ctx, int count)
{
    std::vector<std::string> letters; /* memory of the function's own: fine */
    std::string word;

    for (int i = 0; i < count; i++) {
        Counted counted;
        dispatch_result r;

        {
            std::lock_guard<std::mutex> hold(lock); /* may not live across the await */
            asked++;
        }
        try {
            r = dispatch_call(ctx, "letter", dispatch_int(i));
        } catch (...) { /* the unwinding of a stack that is dropped comes by */
            throw;      /* and has to go on */
        }
        if (r.error)
            throw std::runtime_error(r.error->message);
        letters.push_back(dispatch_as_string(r.output, nullptr));
    }
    for (const std::string &one : letters)
        word += one;
    return word;
}

dispatch_result speller(dispatch_ctx *ctx, dispatch_value input)
{
    int64_t count = 0;

    dispatch_as_int(input, &count);
    try {
        Counted counted;
        std::string word = spell(ctx, static_cast<int>(count));

        /* The result outlives this frame: it goes into memory of the run. */
        return dispatch_ok(dispatch_string(dispatch_printf(ctx, "%s", word.c_str())));
    } catch (const std::exception &e) { /* and never (...), which would stop the unwinding */
        return dispatch_fail(ctx, DISPATCH_PERMANENT_ERROR, "Exception", "%s", e.what());
    }
}

DISPATCH_REGISTER(letter);
DISPATCH_REGISTER(speller);

} // namespace

int main()
{
    dispatch_result result = dispatch_run(dispatch_to("speller", dispatch_int(8)));
    bool failed = result.error != nullptr;

    if (failed)
        std::fprintf(stderr, "raii: %s: %s\n", result.error->type, result.error->message);
    else
        std::printf("%s, and %s\n", dispatch_as_string(result.output, nullptr),
                    made == gone ? "every object that was made is gone" : "objects are left");
    dispatch_result_free(&result);
    return failed;
}
