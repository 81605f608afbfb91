import test from "ava";
import type { ExecutionContext } from "ava";
import type { Log } from "../../src/log.ts";
import { silentLog } from "../../src/log.ts";
import { type Frame, incarnationSeed } from "../../src/segment/format.ts";
import { scanFrames, scanStart } from "../../src/segment/scan.ts";
import { someRecords } from "../support/build-commit.ts";
import { createRandom } from "../support/create-clock.ts";
import { createNodes, type GroupNode, type NodeGroup } from "../support/create-nodes.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import { below } from "../support/random-records.ts";
import { follow, readRecords, readValues } from "../support/read-records.ts";
import { createHeldCall, type HeldCall } from "../support/storage-faults.ts";

const sectorBytes = 512;

/** A log that counts what it is told of damage. */
function createDamageLog(): { log: Log; damages: unknown[] } {
  const damages: unknown[] = [];
  const error = (event: string, fields?: unknown) => {
    if (event === "storage is damaged") damages.push(fields);
  };
  return { log: { ...silentLog, error }, damages };
}

/**
 * The leader's writes come to storage sector by sector, in any order, and get their new version at the end: a look in
 * between sees any part of them. What was seen once stays.
 */
function writeInPieces({ memory }: NodeGroup, leader: GroupNode, random: () => number): void {
  leader.faulty.set("writePages", async (forward, args) => {
    const [name, position, bytes] = args as [string, number, Uint8Array];
    const sectors = Array.from({ length: bytes.length / sectorBytes }, (_, i) => i * sectorBytes);
    const shuffled = sectors.map((at) => ({ at, rank: random() })).toSorted((a, b) => a.rank - b.rank);
    for (const { at } of shuffled) {
      memory.damage(name, position + at, bytes.subarray(at, at + sectorBytes));
      if (random() < 0.4) await new Promise((resolve) => void setImmediate(resolve));
    }
    return forward();
  });
}

for (let seed = 1; seed <= 10; seed++) {
  test(`followed - a read that shows half of a write means not yet, and no damage (seed ${seed})`, async (t) => {
    const { log, damages } = createDamageLog();
    const random = createRandom(seed);
    const group = createNodes(t, 2, { log, settings: { frameBytes: 2048 }, defaults: { segmentBytes: 128 * 1024 } });
    const { nodes, lead, clock } = group;
    const [leader, standby] = [nodes[0]!, nodes[1]!];
    lead(leader, seed % 2 === 0);
    await publish(leader.vault, "s", ["first"]);
    writeInPieces(group, leader, random);
    const total = 300;
    const reading = Array.fromAsync(follow(standby.vault, "s", { end: { at: "count", count: BigInt(total) } }));
    for (let next = 1; next < total;) {
      const published: Promise<unknown>[] = [];
      for (let i = below(random, 4); i >= 0 && next < total; i--) {
        const count = Math.min(1 + below(random, 4), total - next);
        published.push(publish(leader.vault, "s", someRecords(count, 1 + below(random, 3000), next)));
        next += count;
      }
      // The standby looks at any time.
      const looking = Promise.all([standby.vault.getStream("s"), clock.advance(below(random, 1200))]);
      await Promise.all([...published, looking]);
    }
    const records = (await drive(clock, reading)).flatMap((response) => response.records);
    t.deepEqual(
      records.map((record) => record.offset),
      Array.from({ length: total }, (_, i) => BigInt(i)),
    );
    t.deepEqual(damages, []);
  });
}

/** A leader and a standby that reads a stream of one record, and whose further reads are held back. */
async function createHeldStandby(t: ExecutionContext, fed: boolean) {
  const { log, damages } = createDamageLog();
  const group = createNodes(t, 2, {
    log,
    settings: { frameBytes: 4096, responseBytes: 8192 },
    defaults: { segmentBytes: 64 * 1024 },
    tailBytes: 1,
    blockBytes: 16 * 1024,
  });
  const [leader, standby] = [group.nodes[0]!, group.nodes[1]!];
  group.lead(leader, fed);
  await publish(leader.vault, "s", ["a"]);
  const seen: bigint[] = [];
  const reading = (async () => {
    for await (const { records } of follow(standby.vault, "s")) seen.push(...records.map((record) => record.offset));
  })().catch((error: unknown) => error);
  await group.clock.settle();
  const held: HeldCall = createHeldCall();
  standby.faulty.set("read", held.fault);
  return { ...group, leader, standby, seen, reading, held, damages };
}

async function frameOf({ memory }: NodeGroup, node: GroupNode, offset: bigint): Promise<Frame & { blob: string }> {
  const { incarnation, segments } = await node.vault.readAccess("s", offset, offset + 1n);
  const { blob, firstOffset } = segments[0]!;
  const source = { store: memory, blob, seed: incarnationSeed(incarnation) };
  for await (const frame of scanFrames(source, scanStart(firstOffset, 0))) {
    if (frame.nextOffset > offset) return { ...frame, blob };
  }
  throw new Error(`there is no offset ${offset}`);
}

async function flip({ memory }: NodeGroup, blob: string, position: number): Promise<void> {
  const { bytes } = await memory.read(blob, position, 1);
  memory.damage(blob, position, Buffer.from([bytes[0]! ^ 0x10]));
}

for (const fed of [true, false]) {
  const how = fed ? "which the leader told of" : "which a later commit shows";
  test(`followed - damage to what is acknowledged, ${how}, is named, and what is behind is read`, async (t) => {
    for (const place of [10, 100, 4000]) {
      const group = await createHeldStandby(t, fed);
      const { leader, standby, clock, seen, reading, held, damages } = group;
      await publish(leader.vault, "s", someRecords(3, 2000));
      if (!fed) await publish(leader.vault, "s", ["behind"]);
      const frame = await frameOf(group, leader, 1n);
      await flip(group, frame.blob, frame.position + place);
      held.release();
      t.like(await drive(clock, reading), {
        kind: "corrupt",
        detail: { found: { position: `${frame.position}`, offset: "1" } },
      });
      t.deepEqual(seen, [0n]);
      t.is(damages.length, 1);
      await publish(leader.vault, "s", ["end"]);
      const next = fed ? 4n : 5n;
      const behind = await drive(clock, readValues(standby.vault, "s", { start: { at: "offset", offset: next } }));
      t.deepEqual(behind, ["end"]);
    }
  });
}

test("followed - a last commit that is not whole is waited for, until something follows it", async (t) => {
  const group = await createHeldStandby(t, false);
  const { leader, clock, seen, reading, held, damages } = group;
  await publish(leader.vault, "s", someRecords(1, 9000));
  const frame = await frameOf(group, leader, 1n);
  await flip(group, frame.blob, frame.position + 100);
  held.release();
  await clock.advance(20_000);
  t.deepEqual(damages, []);
  t.deepEqual(seen, [0n]);
  await publish(leader.vault, "s", ["behind"]);
  t.like(await drive(clock, reading), { kind: "corrupt", detail: { found: { offset: "1" } } });
  t.is(damages.length, 1);
});

for (const fed of [true, false]) {
  test(`followed - a seal that is damaged costs no record, ${fed ? "by the leader's word" : "without it"}`, async (t) => {
    const group = await createHeldStandby(t, fed);
    const { leader, standby, clock, seen, held } = group;
    let next = 1;
    while ((await leader.vault.getStream("s")).segmentCount < 2) {
      await publish(leader.vault, "s", someRecords(3, 2000, next));
      next += 3;
    }
    const { segments } = await leader.vault.readAccess("s", 0n, 0n);
    await flip(group, segments[0]!.blob, segments[0]!.endPosition - 10);
    held.release();
    await publish(leader.vault, "s", ["end"]);
    await clock.advance(3000);
    t.deepEqual(
      seen,
      Array.from({ length: next + 1 }, (_, i) => BigInt(i)),
    );
    t.is((await drive(clock, readRecords(standby.vault, "s"))).length, next + 1);
  });
}

test("followed - a stream that is damaged before it is opened is read as the leader reads it", async (t) => {
  for (const offset of [1n, 30n, 58n, 60n]) {
    for (const closed of [true, false]) {
      const group = createNodes(t, 2, { settings: { frameBytes: 4096 }, defaults: { segmentBytes: 64 * 1024 } });
      const { nodes, lead, depose, clock } = group;
      const [leader, standby] = [nodes[0]!, nodes[1]!];
      lead(leader, false);
      for (let i = 0; i < 61; i++) await publish(leader.vault, "s", someRecords(1, 3000, i));
      const frame = await frameOf(group, leader, offset);
      if (closed) await leader.vault.close();
      else depose();
      await flip(group, frame.blob, frame.position + 100);
      const read = async () => {
        const seen: bigint[] = [];
        try {
          for await (const { records } of follow(standby.vault, "s", { end: { at: "tail" } })) {
            seen.push(...records.map((record) => record.offset));
          }
          return { seen, error: undefined };
        } catch (error) {
          return { seen, error };
        }
      };
      const followed = await drive(clock, read());
      const visible = Array.from({ length: Number(offset) }, (_, i) => BigInt(i));
      t.deepEqual(followed.seen, visible);
      // At the very end it may be a commit that is not there yet, unless a checkpoint or a seal says otherwise.
      if (offset < 60n) t.like(followed.error, { kind: "corrupt" });
    }
  }
});
