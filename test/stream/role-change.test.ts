import test from "ava";
import { createNodes } from "../support/create-nodes.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { follow, readRecords, readValues } from "../support/read-records.ts";
import { createHeldCall, throttle } from "../support/storage-faults.ts";
import { surviveRoleChanges } from "../support/survive-role-changes.ts";

for (let seed = 1; seed <= 8; seed++) {
  test(`roles - subscriptions on every node go on over changes of leaders without gap or duplicate (seed ${seed})`, (t) =>
    surviveRoleChanges(t, seed));
}

test("roles - a subscription stays open while nobody leads, and gets heartbeats", async (t) => {
  const { nodes, lead, depose, clock } = createNodes(t, 2);
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  await publish(first.vault, "s", ["a"]);
  const seen: { at: number; records: number; caughtUp: boolean }[] = [];
  const reading = (async () => {
    const options = { heartbeatMs: 1000, end: { at: "count", count: 2n } } as const;
    for await (const response of follow(first.vault, "s", options)) {
      seen.push({ at: clock.monotonic(), records: response.records.length, caughtUp: response.caughtUp });
    }
  })();
  await clock.settle();
  // The role goes, and storage with it.
  const held = createHeldCall();
  for (const call of ["get", "list", "read"] as const) first.faulty.set(call, held.fault);
  depose();
  await clock.advance(10_000);
  const silent = seen.filter(({ records }) => records === 0);
  t.is(silent.length, 10);
  t.false(silent.some(({ caughtUp }) => caughtUp));
  held.release();
  await clock.advance(5000);
  lead(second);
  await publish(second.vault, "s", ["b"]);
  await drive(clock, reading);
  t.is(seen.at(-1)?.records, 1);
});

test("roles - a node that begins to lead goes on with what it follows, and storage is not asked any more", async (t) => {
  const { nodes, lead, depose, clock } = createNodes(t, 2);
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  for (let i = 0; i < 30; i++) await publish(first.vault, `s${i}`, ["a"]);
  const abort = new AbortController();
  const counts = new Map<string, number>();
  const readings = Array.from({ length: 30 }, async (_, i) => {
    for await (const response of follow(second.vault, `s${i}`, {}, abort.signal)) {
      counts.set(`s${i}`, (counts.get(`s${i}`) ?? 0) + response.records.length);
    }
  });
  await clock.settle();
  depose();
  await clock.advance(3000);
  lead(second);
  await clock.advance(1000);
  const before = second.requests;
  await clock.advance(60_000);
  t.is(second.requests, before);
  for (let i = 0; i < 30; i++) await publish(second.vault, `s${i}`, ["b"]);
  await clock.settle();
  t.deepEqual(
    [...counts.values()],
    Array.from({ length: 30 }, () => 2),
  );
  abort.abort();
  await Promise.all(readings);
});

test("roles - what was read when the view moved, and was not delivered, is read again", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  await publish(first.vault, "s", ["a", "b"]);
  const held = createHeldCall();
  first.faulty.set("properties", held.fault);
  const reading = Array.fromAsync(follow(first.vault, "s", { end: { at: "count", count: 3n } }));
  await clock.settle();
  t.true(held.waiting, "the tail is looked for before it is told");
  lead(second);
  await clock.settle();
  held.release();
  await publish(second.vault, "s", ["c"]);
  const records = (await drive(clock, reading)).flatMap((response) => response.records);
  t.deepEqual(
    records.map((record) => record.offset),
    [0n, 1n, 2n],
  );
});

test("roles - readers of what is published to do not stand in line behind other streams", async (t) => {
  const { nodes, lead, depose, clock } = createNodes(t, 2, { settings: { followPollMs: 1_000_000 } });
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  const names = Array.from({ length: 9 }, (_, i) => `s${i}`);
  for (const name of names) await publish(first.vault, name, ["a"]);
  const abort = new AbortController();
  const seen = new Map<string, number>();
  const readings = names.map(async (name) => {
    for await (const { records } of follow(second.vault, name, {}, abort.signal)) {
      seen.set(name, (seen.get(name) ?? 0) + records.length);
    }
  });
  await clock.settle();
  depose();
  const held = createHeldCall();
  const last = "streams/s8/";
  second.faulty.set("raiseFence", (forward, args) => {
    return String(args[0]).startsWith(last) ? forward() : held.fault(forward, args);
  });
  lead(second);
  await clock.settle();
  t.true(held.waiting);
  await publish(second.vault, "s8", ["b"]);
  await clock.settle();
  t.is(seen.get("s8"), 2);
  held.release();
  await clock.settle();
  abort.abort();
  await Promise.all(readings);
});

test("roles - a node that leads anew without a break reads what another stored in between", async (t) => {
  const { nodes, lead, usurp, clock } = createNodes(t, 2);
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  await publish(first.vault, "s", ["a"]);
  const reading = readValues(first.vault, "s", { end: { at: "count", count: 2n } });
  await clock.settle();
  usurp(second);
  await publish(second.vault, "s", ["b"]);
  second.leadership.depose();
  second.vault.abandon();
  lead(first);
  t.deepEqual(await drive(clock, reading), ["a", "b"]);
});

test("roles - a stream is followed on while it cannot be opened to write", async (t) => {
  const { nodes, lead, usurp, tell, clock } = createNodes(t, 2);
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  await publish(first.vault, "s", ["a"]);
  const seen: bigint[] = [];
  const reading = (async () => {
    for await (const response of follow(second.vault, "s", { end: { at: "count", count: 4n } })) {
      seen.push(...response.records.map((record) => record.offset));
    }
  })();
  await clock.settle();
  second.faulty.set("raiseFence", throttle);
  usurp(second);
  await clock.advance(3000);
  await publish(first.vault, "s", ["b", "c"]);
  await clock.advance(3000);
  t.deepEqual(seen, [0n, 1n, 2n]);
  second.faulty.set("raiseFence", undefined);
  await clock.advance(5000);
  tell();
  await publish(second.vault, "s", ["d"]);
  await drive(clock, reading);
  t.deepEqual(seen, [0n, 1n, 2n, 3n]);
});

test("roles - an old leader that does not know it yet tells no old tail", async (t) => {
  const { nodes, lead, usurp, clock } = createNodes(t, 2);
  const [old, next] = [nodes[0]!, nodes[1]!];
  lead(old);
  await publish(old.vault, "s", ["a"]);
  usurp(next);
  await publish(next.vault, "s", ["b", "c"]);
  t.true(old.leadership.leads);
  t.deepEqual(await drive(clock, readValues(old.vault, "s")), ["a", "b", "c"]);
  t.is((await old.vault.getStream("s")).nextOffset, 3n);
  t.false(old.leadership.leads);
});

for (const [what, options] of [
  ["latest", { start: { at: "latest" } }],
  ["last", { start: { at: "last", count: 1n } }],
  ["beyond what it knows", { start: { at: "offset", offset: 3n } }],
  ["caught up", {}],
] as const) {
  test(`roles - an old leader that does not know it yet looks before it says where the tail is: ${what}`, async (t) => {
    const { nodes, lead, usurp, clock } = createNodes(t, 2);
    const [old, next] = [nodes[0]!, nodes[1]!];
    lead(old);
    await publish(old.vault, "s", ["a"]);
    usurp(next);
    await publish(next.vault, "s", ["b", "c"]);
    const reader = follow(old.vault, "s", options);
    for (;;) {
      const { value } = await drive(clock, reader.next());
      if (value?.caughtUp !== true) continue;
      t.is(value.nextOffset, 3n);
      break;
    }
    await reader.return(undefined);
  });
}

test("roles - a leader that is sure of its stream asks once for all who come at the same time", async (t) => {
  const { nodes, lead } = createNodes(t, 1);
  const leader = nodes[0]!;
  lead(leader);
  await publish(leader.vault, "s", ["a"]);
  const before = leader.requests;
  await Promise.all(Array.from({ length: 50 }, () => readRecords(leader.vault, "s")));
  t.true(leader.requests - before <= 3, `${leader.requests - before} requests`);
  const { requests } = leader;
  await readRecords(leader.vault, "s", { end: { at: "offset", offset: 1n } });
  t.is(leader.requests, requests, "what is replayed does not depend on the tail");
});

test("handing over - what was accepted is answered, what comes then is not stored", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 2);
  const [first, second] = [nodes[0]!, nodes[1]!];
  lead(first);
  await publish(first.vault, "s", ["a"]);
  const held = createHeldCall();
  first.faulty.set("writePages", held.fault);
  const accepted = ["b", "c", "d"].map((value) => publish(first.vault, "s", [value]));
  await clock.settle();
  let drained = false;
  const handing = first.vault.handOver(2000).then(() => {
    drained = true;
  });
  for (const change of [
    () => publish(first.vault, "s", ["x"]),
    () => publish(first.vault, "new", ["x"]),
    () => first.vault.createStream("t", {}),
    () => first.vault.updateStream("s", { retentionBytes: 1 }),
    () => first.vault.trimStream("s", { offset: 1n }),
    () => first.vault.deleteStream("s", undefined),
  ]) {
    t.like(await t.throwsAsync(change()), { kind: "unavailable" });
  }
  t.false(drained);
  held.release();
  await handing;
  await Promise.all(accepted);
  t.is(clock.timers, 0);
  lead(second);
  await publish(second.vault, "s", ["e"]);
  t.deepEqual(await readValues(first.vault, "s"), ["a", "b", "c", "d", "e"]);
});

test("handing over - what waits for its stream to be opened is not stored", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 1);
  const leader = nodes[0]!;
  lead(leader);
  const held = createHeldCall();
  leader.faulty.set("get", held.fault);
  const waiting = publish(leader.vault, "s", ["a"]);
  await clock.settle();
  await leader.vault.handOver(2000);
  held.release();
  t.like(await t.throwsAsync(waiting), { kind: "unavailable" });
  t.is(leader.faulty.calls.get("writePages"), undefined);
});

test("handing over - storage that hangs does not hold it up for longer than the limit, and it can be taken back", async (t) => {
  const { nodes, lead, clock } = createNodes(t, 1);
  const leader = nodes[0]!;
  lead(leader);
  await publish(leader.vault, "s", ["a"]);
  const held = createHeldCall();
  leader.faulty.set("writePages", held.fault);
  const accepted = publish(leader.vault, "s", ["b"]);
  await clock.settle();
  const handing = leader.vault.handOver(2000);
  t.is(await clock.advanceUntil(() => clock.timers === 0, 5000), 2000);
  await handing;
  leader.vault.lead();
  const next = publish(leader.vault, "s", ["c"]);
  held.release();
  t.like(await accepted, { firstOffset: 1n });
  t.like(await next, { firstOffset: 2n });
});
