// SPDX-License-Identifier: Apache-2.0
// The application of the benchmarks (functions.c), as the peer has it. Prints its port.
import { createServer } from "node:http2";
import * as restate from "@restatedev/restate-sdk";

const payload = "0123456789abcdef0123456789abcdef";
const self = { name: "bench" };

const bench = restate.service({
  name: "bench",
  handlers: {
    noop: async (ctx, input) => input,
    steps: async (ctx, count) => {
      for (let i = 0; i < count; i++) await ctx.serviceClient(self).noop(payload);
      return count;
    },
    fan: async (ctx, count) => {
      const calls = Array.from({ length: count }, () => ctx.serviceClient(self).noop(payload));
      await restate.RestatePromise.all(calls);
      return count;
    },
    sleeper: async (ctx, input) => {
      await ctx.sleep({ hours: 10 });
      return input;
    },
  },
});

const server = createServer(restate.createEndpointHandler({ services: [bench] }));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
