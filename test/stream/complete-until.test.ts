import { timestampMs } from "@bufbuild/protobuf/wkt";
import test from "ava";
import type { SubscribeResponse } from "../../gen/messagevault/v1/vault_pb.ts";
import { createEngine } from "../support/create-engine.ts";
import { publish } from "../support/publish-records.ts";
import { follow, readResponses } from "../support/read-records.ts";

function promiseOf(response: SubscribeResponse | undefined): number | undefined {
  return response?.completeUntil === undefined ? undefined : timestampMs(response.completeUntil);
}

test("complete until - is the time that the lease was proven at, less what storage's clocks may differ by", async (t) => {
  const { clock, open } = createEngine(t);
  const { vault, leadership } = open();
  await publish(vault, "s", ["a"]);
  t.is(promiseOf((await readResponses(vault, "s")).at(-1)), undefined, "without a lease nothing is promised");
  leadership.provenAt = clock.now() - 3000;
  const responses = follow(vault, "s", { heartbeatMs: 1000 });
  t.is(promiseOf((await responses.next()).value), clock.now() - 4000);
  const heartbeat = responses.next();
  leadership.provenAt = clock.now();
  await clock.advance(1000);
  t.is(promiseOf((await heartbeat).value), clock.now() - 2000);
  await responses.return(undefined);
});

test("complete until - no record gets an earlier timestamp, wherever the node's clock is", async (t) => {
  const { clock, open } = createEngine(t);
  const { vault, leadership } = open();
  await publish(vault, "s", ["a"]);
  // The node's clock is behind storage's.
  leadership.provenAt = clock.now() + 5000;
  const promised = promiseOf((await readResponses(vault, "s")).at(-1))!;
  const { timestamp } = await publish(vault, "s", ["b"]);
  t.is(timestamp, leadership.provenAt);
  t.true(timestamp >= promised);
});

test("complete until - is not promised while a commit is under way, which may have an earlier timestamp", async (t) => {
  const { clock, faulty, open } = createEngine(t);
  const { vault, leadership } = open();
  leadership.provenAt = clock.now();
  await publish(vault, "s", ["a"]);
  const release = Promise.withResolvers<void>();
  faulty.set("writePages", async (forward) => {
    await release.promise;
    return forward();
  });
  const late = publish(vault, "s", ["late"]);
  await clock.advance(10_000);
  leadership.provenAt = clock.now();
  const during = await readResponses(vault, "s", { end: { at: "count", count: 0n } });
  t.is(promiseOf(during.at(-1)), undefined);
  release.resolve();
  const { timestamp } = await late;
  t.true(timestamp <= clock.now() - 10_000);
  t.is(promiseOf((await readResponses(vault, "s")).at(-1)), clock.now() - 1000);
});

test("complete until - a node that follows promises nothing", async (t) => {
  const { clock, open } = createEngine(t);
  const leader = open();
  leader.leadership.provenAt = clock.now();
  await publish(leader.vault, "s", ["a"]);
  const standby = open();
  standby.leadership.depose();
  const [response] = await readResponses(standby.vault, "s");
  t.is(response?.records.length, 1);
  t.is(promiseOf(response), undefined);
});
