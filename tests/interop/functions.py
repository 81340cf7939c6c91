# SPDX-License-Identifier: Apache-2.0
"""The functions of an application of the official Python SDK, as its users write them."""

import datetime
import os
from typing import List

import dispatch
from dispatch.error import TemporaryError
from dispatch.function import default_registry

DIRECTORY = os.environ.get("INTEROP_DIR", "")

# Arguments and results that keep their types on the way.
VALUES = [
    None,
    True,
    42,
    -(2**63),
    2**80,
    0.5,
    "text with é and \0",
    b"bytes \x00\xff",
    (1, "tuple", None),
    {"dict": [1.5, "x", None], "of": {"dicts": True}},
    {1, 2, 3},
    datetime.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=3, microseconds=5),
]


class Refused(Exception):
    """An error type of the application's own."""


@dispatch.function
def greet(name):
    return f"Hello, {name}!"


@dispatch.function
def echo(value):
    return value


@dispatch.function
async def keywords(a, *, b=2):
    return a - b


@dispatch.function
async def nested(name):
    return await greet(name) + " " + await greet("again")


@dispatch.function
async def merge_sort(values: List[int]):
    if len(values) <= 1:
        return values
    half = len(values) // 2
    left, right = await dispatch.gather(merge_sort(values[:half]), merge_sort(values[half:]))
    merged = []
    while left and right:
        merged.append((left if left[0] <= right[0] else right).pop(0))
    return merged + left + right


@dispatch.function
async def many(count, size):
    # No comprehension that uses `size`: what shares a variable with its function cannot be pickled.
    calls = []
    for i in range(count):
        calls.append(echo(chr(65 + i) * size))
    return list(map(len, await dispatch.gather(*calls)))


@dispatch.function
def refuse(message):
    raise Refused(message)


@dispatch.function
def broken(message):
    raise ValueError(message)


@dispatch.function
async def first_success(name):
    return await dispatch.any(refuse("not this one"), greet(name))


@dispatch.function
async def no_success():
    return await dispatch.any(refuse("one"), refuse("two"))


@dispatch.function
async def winner(name):
    return await dispatch.race(for_a_long_time(), greet(name))


@dispatch.function
async def for_a_long_time():
    return await dispatch.call(
        dispatch.Call("nap", input=3600, endpoint=default_registry().endpoint))


@dispatch.function
async def all_fail(name):
    return await dispatch.gather(greet(name), refuse("the whole"))


@dispatch.function
async def catcher(message):
    try:
        return await refuse(message)
    except Refused as e:
        return ("caught", str(e))


@dispatch.function
async def parent_of_broken(message):
    return await broken(message)


def count(name):
    """How often this was asked for, in all processes of the application."""
    with open(os.path.join(DIRECTORY, name), "a+") as file:
        file.write(".")
        return file.tell()


@dispatch.function
def flaky(name):
    n = count(name)
    if n < 3:
        raise TemporaryError(f"attempt {n}")
    return n


@dispatch.function
async def countdown(n, name):
    count(name)
    if n == 0:
        return "liftoff after " + await greet(name)
    raise dispatch.Reset(countdown, n - 1, name)


@dispatch.function
def gate(name):
    """Says that it runs, and waits until it is let through."""
    with open(os.path.join(DIRECTORY, name + ".runs"), "w") as file:
        file.write("%d\n" % os.getpid())
    with open(os.path.join(DIRECTORY, name + ".opens")) as file:
        return file.read()


@dispatch.function
async def around_gate(name):
    first = await greet("before")
    through = await gate(name)
    return [first, through, await greet("after")]


@dispatch.function
async def around(url):
    first = await greet("before")
    elsewhere = await dispatch.call(greet_elsewhere(url))
    return [first, elsewhere, await greet("after")]


def greet_elsewhere(url):
    call = greet.build_call("elsewhere")
    call.endpoint = url
    return call


@default_registry().primitive_function
async def primitive(input: dispatch.Input) -> dispatch.Output:
    """Calls greet for each name of the input, at once, and joins what they give in that order."""
    if input.is_first_call:
        if not input.input:
            return dispatch.Output.error(
                dispatch.Error(dispatch.Status.INVALID_ARGUMENT, "NoNames", "no names")
            )
        calls = [greet.build_call(name) for name in input.input]
        for i, call in enumerate(calls):
            call.correlation_id = 2**64 - 1 - i
        return dispatch.Output.poll({"missing": len(calls)}, calls, 1, 2, 60)
    state = input.coroutine_state
    for result in input.call_results:
        state[str(2**64 - 1 - result.correlation_id)] = result.output
        state["missing"] -= 1
    if state["missing"]:
        return dispatch.Output.poll(state, [], 1, 2, 60)
    del state["missing"]
    return dispatch.Output.value(" ".join(state[key] for key in sorted(state)))


@default_registry().primitive_function
async def nap(input: dispatch.Input) -> dispatch.Output:
    """A poll for nothing is a timer."""
    if input.is_first_call:
        return dispatch.Output.poll("asleep", [], 1, 1, int(input.input))
    return dispatch.Output.value([input.coroutine_state, len(input.call_results)])


@default_registry().primitive_function
async def hand_over(input: dispatch.Input) -> dispatch.Output:
    return dispatch.Output.tail_call(greet.build_call(input.input))


@default_registry().primitive_function
async def bad_poll(input: dispatch.Input) -> dispatch.Output:
    """A poll that cannot be accepted is answered, not failed."""
    if input.is_first_call:
        call = dispatch.Call(function="greet", endpoint="gopher://nowhere", input=None)
        return dispatch.Output.poll("state", [call])
    return dispatch.Output.value([input.poll_error.type, len(input.call_results)])
