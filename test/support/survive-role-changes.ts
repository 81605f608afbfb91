import type { ExecutionContext } from "ava";
import { isKind } from "../../src/errors.ts";
import { createRandom } from "./create-clock.ts";
import { createNodes } from "./create-nodes.ts";
import type { GroupNode, NodeGroup } from "./create-nodes.ts";
import { drive } from "./drive.ts";
import { publish } from "./publish-records.ts";
import { below } from "./random-records.ts";
import { follow } from "./read-records.ts";
import type { ReadOptions } from "./read-records.ts";
import { findingsOf } from "./run-workload.ts";
import { loseAnswer, loseRequest, refuse, script, throttle } from "./storage-faults.ts";

const total = 300;

/** What a subscriber saw: every offset with its record's value. */
async function readAll(node: GroupNode, options: ReadOptions): Promise<[bigint, string][]> {
  const seen: [bigint, string][] = [];
  for await (const response of follow(node.vault, "s", { heartbeatMs: 1000, ...options })) {
    for (const record of response.records) seen.push([record.offset, Buffer.from(record.value).toString()]);
  }
  return seen;
}

/** Publishes numbers in order, each until it is stored, at whichever node leads; returns where each was stored. */
async function publishAll(group: NodeGroup, random: () => number): Promise<Map<bigint, string>> {
  const stored = new Map<bigint, string>();
  for (let sequence = 1n; sequence < BigInt(total);) {
    const leader = group.nodes.find((node) => node.leadership.leads);
    const value = `${sequence}`.padEnd(1 + below(random, 3000), ".");
    try {
      if (leader === undefined) throw new Error("nobody leads");
      const result = await publish(leader.vault, "s", [value], { producer: { id: "p", sequence } });
      stored.set(result.firstOffset, value);
      sequence++;
      if (random() < 0.3) await new Promise((resolve) => void setImmediate(resolve));
    } catch (error) {
      if (
        !(error instanceof Error) ||
        (error.message !== "nobody leads" && !isKind(error, "unavailable", "indeterminate"))
      )
        throw error;
      await new Promise<void>((resolve) => void group.clock.timer(20, resolve));
    }
  }
  return stored;
}

/** Changes leaders, in every way, until `done`; in the end one leads. */
async function changeRoles(group: NodeGroup, random: () => number, done: () => boolean): Promise<void> {
  while (!done()) {
    await group.clock.advance(below(random, 400));
    for (let turns = below(random, 30); turns > 0; turns--) await group.clock.settle();
    const node = group.nodes[below(random, group.nodes.length)]!;
    const faults = [loseAnswer, loseRequest, refuse, throttle];
    for (const { faulty } of group.nodes) {
      if (random() < 0.2) script(faulty, random() < 0.5 ? "writePages" : "read", [faults[below(random, 4)]!]);
    }
    const pick = random();
    if (pick < 0.3) group.depose();
    else if (pick < 0.6) group.lead(node, random() < 0.7);
    else if (!node.leadership.leads) {
      group.usurp(node);
      for (let turns = below(random, 30); turns > 0; turns--) await group.clock.settle();
      group.tell();
    }
  }
}

/**
 * Publishes while leaders come and go and storage fails now and then, with subscriptions on every node, and checks that
 * each of them sees every record once, in order.
 */
export async function surviveRoleChanges(t: ExecutionContext, seed: number): Promise<void> {
  const random = createRandom(seed);
  const options = { frameBytes: 2048, responseBytes: 8192, settleMs: 2000 };
  const group = createNodes(t, 3, {
    seed,
    defaults: { segmentBytes: 64 * 1024 },
    settings: { ...options, ...(random() < 0.3 ? { openStreamsMax: 1 } : {}) },
    tailBytes: random() < 0.5 ? 10_000 : 1_000_000,
    blockBytes: 8 * 1024,
  });
  const { nodes, clock } = group;
  group.lead(nodes[0]!);
  await publish(nodes[0]!.vault, "s", ["0"], { producer: { id: "p", sequence: 0n } });
  const end = { at: "count", count: BigInt(total) } as const;
  const readings = nodes.flatMap((node) => [readAll(node, { end }), readAll(node, { end })]);
  const state = { done: false };
  const changing = changeRoles(group, random, () => state.done);
  const stored = await publishAll(group, random).finally(() => {
    state.done = true;
  });
  await changing;
  for (const { faulty } of nodes) faulty.set("read", undefined);
  if (random() < 0.5) group.depose();
  const seen = await drive(clock, Promise.all(readings));
  stored.set(0n, "0");
  const expected = [...stored].toSorted(([a], [b]) => Number(a - b));
  t.deepEqual(
    expected.map(([offset]) => offset),
    Array.from({ length: total }, (_, i) => BigInt(i)),
  );
  for (const reader of seen) t.deepEqual(reader, expected);
  t.deepEqual(await findingsOf(group.engine, "s"), []);
}
