# SPDX-License-Identifier: Apache-2.0
"""A program for `dispatch run`, as the SDK's documentation has it."""

import dispatch
import functions


async def main():
    print(await functions.nested("Ada"), flush=True)
    try:
        await functions.refuse("not today")
    except functions.Refused as e:
        print("caught", e, flush=True)


dispatch.run(main())
