import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

import test from "ava";

import { systemClock } from "../../src/clock.ts";
import { createTcpProbe, parseEndpoint } from "../../src/leader/probe.ts";
import { createClock } from "../support/create-clock.ts";

const { signal } = new AbortController();

test("probe - a port where a process listens is alive, then refused when it is gone", async (t) => {
  const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const probe = createTcpProbe(systemClock, 5000);

  t.is(await probe(endpoint, signal), "alive");
  server.close();
  await once(server, "close");
  t.is(await probe(endpoint, signal), "refused");
});

test("probe - no answer within the time-out is silence", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const clock = createClock();
  const probing = createTcpProbe(clock, 1000)(`127.0.0.1:${(server.address() as AddressInfo).port}`, signal);
  // Fires before the event loop had a chance to learn that the connection stands.
  const advanced = clock.advanceUntil(() => clock.timers === 0, 1000).catch(() => undefined);
  t.true(["silent", "alive"].includes(await probing));
  await advanced;
  t.is(clock.timers, 0);
});

test("probe - a name that does not resolve, or no address at all, is silence", async (t) => {
  const probe = createTcpProbe(systemClock, 5000);
  t.is(await probe("no-such-host.invalid:1", signal), "silent");
  t.is(await probe("nonsense", signal), "silent");
  t.is(await probe("127.0.0.1:1", AbortSignal.abort()), "silent");
});

test("endpoint - host and port are told apart", (t) => {
  t.deepEqual(parseEndpoint("vault-1.example:50051"), { host: "vault-1.example", port: 50_051 });
  t.deepEqual(parseEndpoint("[::1]:80"), { host: "::1", port: 80 });
  for (const bad of ["", "host", "host:", ":1", "host:0", "host:65536", "::1:80", "a b:1", "host:1x"]) {
    t.is(parseEndpoint(bad), undefined, bad);
  }
});
