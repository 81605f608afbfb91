import test from "ava";
import type { ExecutionContext } from "ava";

import { createMemoryStore } from "../../src/blob/memory.ts";
import type { FaultyStore } from "../support/create-faulty-store.ts";
import { createCluster } from "../support/create-cluster.ts";
import { heldFence } from "../../src/blob/contract-check.ts";

const minute = 60_000;

function countRequests({ calls }: FaultyStore): number {
  return [...calls.values()].reduce((sum, count) => sum + count, 0);
}

test("costs - in a steady state each node sends at most one request in 5 s", async (t) => {
  const cluster = createCluster(t);
  const nodes = [];
  for (const name of ["a", "b", "c"]) {
    nodes.push(await cluster.start(name));
    await cluster.clock.advance(1000);
  }
  await cluster.clock.advance(minute);
  const before = nodes.map(({ faults }) => countRequests(faults));

  await cluster.clock.advance(60 * minute);

  for (const [at, { faults, election }] of nodes.entries()) {
    const requests = countRequests(faults) - before[at]!;
    t.log(`${election.role}: ${requests} requests in an hour`);
    t.true(requests <= 720, `${requests} requests in an hour`);
    t.true(requests >= 450, `${requests} requests in an hour`);
  }
});

async function countTakeover(t: ExecutionContext, streams: number) {
  const cluster = createCluster(t);
  const store = createMemoryStore(cluster.clock, { capacityBytes: 2 ** 40 });
  for (let stream = 0; stream < streams; stream++) {
    await store.put(`streams/s${stream}/stream.json`, Buffer.from("{}"), "always");
    await store.createPages(`streams/s${stream}/id/${"0".repeat(20)}.segment`, 4096, heldFence(1));
  }
  const a = await cluster.start("a", { store });
  await cluster.clock.advance(1000);
  const b = await cluster.start("b", { store });
  await cluster.clock.advance(minute);
  const before = new Map(b.faults.calls);
  a.kill();
  await cluster.clock.advanceUntil(() => b.election.role === "leader", minute);
  return [...b.faults.calls].map(([call, count]) => [call, count - (before.get(call) ?? 0)]);
}

test("costs - taking over costs the same requests with one stream as with ten thousand", async (t) => {
  t.timeout(minute);
  const few = await countTakeover(t, 1);
  t.deepEqual(Object.fromEntries(few), {
    properties: 2,
    releaseLease: 0,
    breakLease: 1,
    setMetadata: 1,
    acquireLease: 1,
  });
  t.deepEqual(await countTakeover(t, 10_000), few);
});
