import test from "ava";
import type { ExecutionContext } from "ava";
import type { PublishRequest } from "../../gen/messagevault/v1/vault_pb.ts";
import { encodeBatch } from "../../src/client.ts";
import { systemClock } from "../../src/clock.ts";
import { createEndpoints } from "../../src/client/endpoints.ts";
import type { CallContext } from "../../src/rpc/handlers.ts";
import { leaderKey } from "../../src/rpc/leader-route.ts";
import { createClient } from "../support/create-client.ts";
import { createClock } from "../support/create-clock.ts";
import { createProxy } from "../support/create-proxy.ts";
import { answer, createScriptedVault } from "../support/create-scripted-vault.ts";
import { waitUntil } from "../support/wait-until.ts";

const batch = encodeBatch([{ value: "x" }]);

/** A leader, and a standby that answers in its name. */
async function createPair(t: ExecutionContext, named?: string) {
  const calls: string[] = [];
  const serve = (name: string, endpoint?: string) => ({
    publish: [
      async (request: PublishRequest, context: CallContext) => {
        calls.push(name);
        if (endpoint !== undefined) context.sendMetadata({ [leaderKey]: endpoint });
        return answer(request);
      },
    ],
    publishStream: [
      async function* (requests: AsyncIterable<PublishRequest>, context: CallContext) {
        for await (const request of requests) {
          calls.push(name);
          if (endpoint !== undefined && request.producer?.sequence === 0n)
            context.sendMetadata({ [leaderKey]: endpoint });
          yield answer(request);
        }
      },
    ],
  });
  const leader = await createScriptedVault(t, serve("leader"));
  const proxy = await createProxy(t, leader.endpoint);
  const standby = await createScriptedVault(t, serve("standby", named ?? proxy.endpoint));
  return { calls, proxy, standby };
}

test("leader hint - publishes go to the node that an answer came from, once it is connected", async (t) => {
  const { calls, standby } = await createPair(t);
  const client = createClient(t, standby);
  await client.publish("s", [{ value: "x" }]);
  t.deepEqual(calls, ["standby"]);
  while (calls.at(-1) === "standby" && calls.length < 1000) await client.publish("s", [{ value: "x" }]);
  t.is(calls.at(-1), "leader");
});

test("leader hint - an address that cannot be reached is not gone to", async (t) => {
  const { calls, standby } = await createPair(t, "127.0.0.1:1");
  const client = createClient(t, standby);
  for (let i = 0; i < 20; i++) await client.publish("s", [{ value: "x" }]);
  t.true(calls.every((name) => name === "standby"));
});

test("leader hint - when the leader's own connection fails, publishes go back to the given address", async (t) => {
  const { calls, proxy, standby } = await createPair(t);
  const client = createClient(t, standby);
  do await client.publish("s", [{ value: "x" }]);
  while (calls.at(-1) === "standby" && calls.length < 1000);
  t.is(calls.at(-1), "leader");
  proxy.refuse();
  calls.length = 0;
  for (let sequence = 0n; sequence < 5n; sequence++) {
    await client.publish("s", [{ value: "x" }], { producer: { id: "p", sequence } });
  }
  t.deepEqual(calls, ["standby", "standby", "standby", "standby", "standby"]);
});

test("leader hint - a pipeline goes over to the leader without sending anything twice", async (t) => {
  const { calls, standby } = await createPair(t);
  const pipeline = createClient(t, standby).pipeline();
  const published: Promise<unknown>[] = [];
  while (calls.at(-1) !== "leader" && published.length < 5000) {
    published.push(pipeline.publish("s", batch));
    if (published.length % 8 === 0) await Promise.all(published);
  }
  await Promise.all(published);
  t.is(calls.at(-1), "leader");
  t.is(calls.length, published.length);
  t.is(pipeline.acknowledged.duplicateCount, 0);
});

test("endpoints - one that failed is not taken on a mention again, for a while", async (t) => {
  const clock = createClock();
  const { standby, proxy } = await createPair(t);
  const endpoints = createEndpoints([standby.endpoint], undefined, clock);
  t.teardown(() => endpoints.close());
  const goesToLeader = () => endpoints.pickLeader().address === proxy.endpoint;
  endpoints.mention(proxy.endpoint);
  await waitUntil(goesToLeader, "the leader is connected");
  t.is(endpoints.pick().address, standby.endpoint);
  endpoints.moveOn(endpoints.pickLeader(), undefined);
  endpoints.mention(proxy.endpoint);
  // By when somebody else has connected who began later, it would have been as well.
  const others = createEndpoints([standby.endpoint], undefined, clock);
  t.teardown(() => others.close());
  others.mention(proxy.endpoint);
  await waitUntil(() => others.pickLeader().address === proxy.endpoint, "another client is connected");
  t.false(goesToLeader());
  await clock.advance(30_000);
  endpoints.mention(proxy.endpoint);
  await waitUntil(goesToLeader, "the leader is connected again");
});

test("endpoints - one that was only mentioned is not gone to before it is connected", (t) => {
  const endpoints = createEndpoints(["a:1"], undefined, systemClock);
  t.teardown(() => endpoints.close());
  endpoints.mention("127.0.0.1:1");
  t.is(endpoints.pickLeader().address, "a:1");
});

test("endpoints - a leader that a refusal named is gone to at once, and reads stay where they are", (t) => {
  const endpoints = createEndpoints(["a:1", "b:1"], undefined, systemClock);
  t.teardown(() => endpoints.close());
  endpoints.moveOn(endpoints.pickLeader(), "c:1");
  t.is(endpoints.pickLeader().address, "c:1");
  t.is(endpoints.pick().address, "a:1");
  endpoints.moveOn(endpoints.pickLeader(), undefined);
  t.is(endpoints.pickLeader().address, "a:1");
  endpoints.moveOn(endpoints.pick(), undefined);
  t.is(endpoints.pick().address, "b:1");
});
