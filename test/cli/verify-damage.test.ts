/** Every kind of damage to a stopped vault's files is named, with blob and position, and nothing else is. */
import test from "ava";
import type { ExecutionContext } from "ava";
import fs from "node:fs/promises";
import path from "node:path";
import type { BlobReader } from "../../src/blob/blob-store.ts";
import { slotBytes } from "../../src/blob/file-header.ts";
import { openFileReader } from "../../src/blob/file-reader.ts";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import type { Frame } from "../../src/segment/format.ts";
import { frameFlags, incarnationSeed, writeHeader } from "../../src/segment/format.ts";
import { scanFrames, scanStart } from "../../src/segment/scan.ts";
import { readMetadata, segmentPrefix } from "../../src/stream/metadata.ts";
import { listSegments } from "../../src/stream/segment-list.ts";
import { createClient } from "../support/create-client.ts";
import { createDirectory } from "../support/create-directory.ts";
import { createVault } from "../support/create-vault.ts";
import { startCli } from "../support/run-cli.ts";
import { takeSnapshot } from "../support/take-snapshot.ts";

const pages = 4096;

interface StoredSegment {
  readonly blob: string;
  readonly index: string;
  readonly frames: readonly Frame[];
}

interface Found {
  readonly blob: string;
  readonly position?: number;
  readonly problem: string;
}

/** The directory of a vault that was stopped, with a stream of several segments, and what is in it. */
interface Stored {
  readonly incarnation: string;
  readonly segments: readonly StoredSegment[];
  /** Damages a copy of it and checks that; resolves to what was found. `argv`: the stream, unless it says otherwise. */
  verify(damage: (directory: string) => Promise<void>, ...argv: string[]): Promise<Found[]>;
}

// By its clock everything was written long ago, so that nothing is waited for.
const later: Clock = { ...systemClock, now: () => systemClock.now() + 3_600_000 };

async function createStored(t: ExecutionContext, count = 150): Promise<Stored> {
  const directory = path.join(await createDirectory(t), "data");
  const vault = await createVault(t, { storage: `file:${directory}`, segmentBytes: 64 * 1024 });
  const publisher = createClient(t, vault).publisher("orders");
  for (let i = 0; i < count; i++) await publisher.publish([{ value: `record ${i} `.padEnd(2000, "x") }]);
  await createClient(t, vault).publish("other", [{ value: "x" }]);
  await vault.close();
  const reader = await openFileReader(directory, later);
  const { incarnation } = (await readMetadata(reader, "orders"))!.metadata;
  const segments = await readSegments(reader, incarnation);
  let copies = 0;
  return {
    incarnation,
    segments,
    async verify(damage, ...argv) {
      const copy = `${directory}-${++copies}`;
      await fs.cp(directory, copy, { recursive: true });
      await damage(copy);
      const before = await takeSnapshot(copy);
      const findings = await verifyStorage(t, copy, argv.length === 0 ? ["orders"] : argv);
      t.deepEqual(await takeSnapshot(copy), before);
      return findings;
    },
  };
}

async function readSegments(reader: BlobReader, incarnation: string): Promise<StoredSegment[]> {
  const listed = await listSegments(reader, segmentPrefix("orders", incarnation));
  return Promise.all(
    listed.map(async ({ blob, indexBlob, firstOffset }) => {
      const source = { store: reader, blob, seed: incarnationSeed(incarnation) };
      const frames = await Array.fromAsync(scanFrames(source, scanStart(firstOffset, 0)));
      return { blob, index: indexBlob, frames };
    }),
  );
}

async function verifyStorage(t: ExecutionContext, directory: string, argv: readonly string[]): Promise<Found[]> {
  const run = startCli(["verify", "--storage", `file:${directory}`, "--json", ...argv], "", later);
  const code = await run.exited;
  const events = run
    .stdout()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Found & { kind: string; findings?: number });
  const found = events.filter(({ kind }) => kind === "finding");
  t.is(code, found.length === 0 ? 0 : 1, run.stderr());
  t.like(events.at(-1), { kind: "summary", findings: found.length });
  return found;
}

async function change(file: string, run: (bytes: Buffer) => Buffer | undefined): Promise<void> {
  const bytes = await fs.readFile(file);
  await fs.writeFile(file, run(bytes) ?? bytes);
}

function flip(blob: string, position: number) {
  return (directory: string) =>
    change(path.join(directory, blob), (bytes) => {
      bytes[pages + position]! ^= 1;
      return undefined;
    });
}

const nothing = async () => undefined;
const places = (found: readonly Found[]) => found.map(({ blob, position }) => [blob, position]);

test("verify damage - there is none in what a vault has stored", async (t) => {
  const { segments, verify } = await createStored(t);
  t.true(segments.length >= 4);
  t.deepEqual(await verify(nothing), []);
  t.deepEqual(await verify(nothing, "--all"), []);
});

test("verify damage - a flipped byte in the head, the middle and the tail of each segment", async (t) => {
  const { segments, verify } = await createStored(t);
  for (const { blob, index, frames } of [segments[0]!, segments[1]!, segments.at(-1)!]) {
    for (const frame of [frames[0]!, frames[frames.length >> 1]!, frames.at(-1)!]) {
      for (const position of [frame.position, frame.position + 8, frame.endPosition - 1]) {
        const found = await verify(flip(blob, position));
        t.deepEqual(places(found)[0], [blob, frame.position], `${position}`);
        t.regex(found[0]!.problem, new RegExp(`damaged: offset ${frame.firstOffset} should be here`));
        const echoes = found.slice(1).filter((one) => one.blob !== index && one.blob !== blob);
        t.deepEqual(echoes, []);
      }
    }
  }
});

test("verify damage - an index that is cut short, empty, or another segment's", async (t) => {
  const { segments, verify } = await createStored(t);
  const { index } = segments[1]!;
  const damages = [
    (directory: string) => change(path.join(directory, index), (bytes) => bytes.subarray(0, -1)),
    (directory: string) => change(path.join(directory, index), (bytes) => bytes.subarray(0, 50)),
    (directory: string) => change(path.join(directory, index), () => Buffer.alloc(0)),
    (directory: string) => fs.cp(path.join(directory, segments[2]!.index), path.join(directory, index)),
  ];
  for (const damage of damages) {
    const found = await verify(damage);
    t.deepEqual(found, [{ ...found[0]!, blob: index, problem: "the index is damaged, or of another segment" }]);
  }
  t.deepEqual(await verify((directory) => fs.rm(path.join(directory, index))), []);
});

test("verify damage - a segment's header", async (t) => {
  const { segments, verify } = await createStored(t);
  const { blob } = segments[1]!;
  const found = await verify((directory) =>
    change(path.join(directory, blob), (bytes) => bytes.fill(7, 20, 40).fill(7, slotBytes + 20, slotBytes + 40)),
  );
  t.deepEqual(places(found), [[blob, undefined]]);
  t.regex(found[0]!.problem, /the header of page blob .* is damaged/);
});

test("verify damage - a stream.json that is no JSON, of another stream, or gone", async (t) => {
  const { incarnation, verify } = await createStored(t);
  const metadata = "streams/orders/stream.json";
  const broken = await verify((directory) => change(path.join(directory, metadata), (bytes) => bytes.subarray(9)));
  t.deepEqual(places(broken), [[metadata, undefined]]);
  t.regex(broken[0]!.problem, /cannot be understood/);
  const foreign = await verify((directory) =>
    fs.cp(path.join(directory, "streams/other/stream.json"), path.join(directory, metadata)),
  );
  t.deepEqual(places(foreign), [[metadata, undefined]]);
  t.regex(foreign[0]!.problem, new RegExp(`names incarnation [0-9a-f]{32}, but ${incarnation} is there too`));
  for (const argv of [["orders"], ["--all"]]) {
    const gone = await verify((directory) => fs.rm(path.join(directory, metadata)), ...argv);
    t.deepEqual(places(gone), [[metadata, undefined]]);
    t.is(gone[0]!.problem, `is missing, but incarnation ${incarnation} is there`);
  }
});

test("verify damage - a start beyond the end", async (t) => {
  const { verify } = await createStored(t);
  const found = await verify((directory) =>
    change(path.join(directory, "streams/orders/stream.json"), (bytes) =>
      Buffer.from(bytes.toString().replace('"startOffset": "0"', '"startOffset": "151"')),
    ),
  );
  t.deepEqual(places(found), [["streams/orders/stream.json", undefined]]);
  t.is(found[0]!.problem, "the stream ends at 150, before its start 151");
});

test("verify damage - a removed segment: the first, one in the middle, the last", async (t) => {
  const { segments, verify } = await createStored(t);
  const [first, second, third] = segments as [StoredSegment, StoredSegment, StoredSegment];
  const remove = (segment: StoredSegment) => verify((directory) => fs.rm(path.join(directory, segment.blob)));
  const headless = await remove(first);
  t.deepEqual(places(headless), [[second.blob, 0]]);
  t.is(headless[0]!.problem, `records from 0 to ${second.frames[0]!.firstOffset} are missing before it`);
  const gap = await remove(second);
  t.deepEqual(places(gap), [[third.blob, 0]]);
  const [here, missing] = [third.frames[0]!.firstOffset, second.frames[0]!.firstOffset];
  t.is(gap[0]!.problem, `records from ${missing} to ${here} are missing before it`);
  const tailless = await remove(segments.at(-1)!);
  t.deepEqual(places(tailless), [[segments.at(-1)!.blob, undefined]]);
  t.is(tailless[0]!.problem, "the segment is missing, but its index is there");
});

test("verify damage - a seal that is missing, names another offset, or ends the stream", async (t) => {
  const { incarnation, segments, verify } = await createStored(t);
  const { blob, index, frames } = segments[1]!;
  const seal = frames.at(-1)!;
  t.true((seal.flags & frameFlags.seal) !== 0);
  const rewrite = (header: Partial<Frame>) => (directory: string) =>
    change(path.join(directory, blob), (bytes) => {
      const changed = { ...seal, ...header };
      writeHeader(bytes, pages + seal.position, seal.position, incarnationSeed(incarnation), changed);
      return undefined;
    });
  const wrong = await verify(rewrite({ firstOffset: seal.firstOffset + 1n }));
  t.deepEqual(places(wrong)[0], [blob, seal.position]);
  t.is(wrong[0]!.problem, `damaged: offset ${seal.firstOffset} should be here`);
  const erase = (directory: string) =>
    change(path.join(directory, blob), (bytes) => bytes.fill(0, pages + seal.position, pages + seal.endPosition));
  const missing = await verify(erase);
  t.deepEqual(places(missing)[0], [blob, seal.position]);
  const unindexed = await verify(async (directory) => {
    await erase(directory);
    await fs.rm(path.join(directory, index));
  });
  t.deepEqual(places(unindexed), [[blob, seal.position]]);
  t.is(unindexed[0]!.problem, "ends without a seal, but another follows");
  const ended = await verify(rewrite({ flags: seal.flags | frameFlags.endOfStream }));
  t.deepEqual(places(ended)[0], [segments[2]!.blob, 0]);
  t.is(ended[0]!.problem, "follows the end of the stream");
});

test("verify damage - frames that are whole and of another place or stream", async (t) => {
  const { segments, verify } = await createStored(t);
  const { blob, frames } = segments[1]!;
  const [one, other] = [frames[3]!, frames[5]!];
  const found = await verify((directory) =>
    change(path.join(directory, blob), (bytes) => {
      bytes.copy(bytes, pages + other.position, pages + one.position, pages + one.endPosition);
      return undefined;
    }),
  );
  t.deepEqual(places(found)[0], [blob, other.position]);
});
