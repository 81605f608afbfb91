/**
 * A vault that makes golden data: the real one, in memory, on a clock that stands still, with ids that depend only on
 * what it is told to do. It keeps book of what was stored.
 */
import { createHash } from "node:crypto";
import type { ExecutionContext } from "ava";
import type { MemoryStore } from "../../src/blob/memory.ts";
import { VaultError } from "../../src/errors.ts";
import { incarnationSeed } from "../../src/segment/format.ts";
import type { Frame } from "../../src/segment/format.ts";
import { scanFrames, scanStart } from "../../src/segment/scan.ts";
import type { StreamInfo, StreamSettings } from "../../src/stream/commands.ts";
import type { EngineSettings } from "../../src/stream/engine.ts";
import { segmentPrefix } from "../../src/stream/metadata.ts";
import { listSegments } from "../../src/stream/segment-list.ts";
import { Vault } from "../../src/stream/vault.ts";
import { createEngine } from "../support/create-engine.ts";
import type { TestNode } from "../support/create-engine.ts";
import type { StoreCall } from "../support/create-faulty-store.ts";
import { drive } from "../support/drive.ts";
import { publish } from "../support/publish-records.ts";
import type { GoldenRequest, GoldenStream, StoredRequest } from "./golden-data.ts";
import { toPublish } from "./golden-data.ts";

/** All that decides what bytes are written, so that other defaults in tests do not change them. */
const settings: Partial<EngineSettings> = {
  lingerMs: 10,
  commitBytesMax: 4 * 1024 * 1024,
  frameBytes: 2048,
  producersMax: 10_000,
  producerRequestsMax: 64,
};

const defaults: StreamSettings = {
  segmentBytes: 1024 * 1024,
  segmentAgeMs: 86_400_000,
  retentionAgeMs: 0,
  retentionBytes: 0,
  producerWindowMs: 86_400_000,
};

/** How long it is from one step to the next. */
const stepMs = 1500;

const sectorBytes = 512;

/** The book of one stream. */
interface Book {
  readonly about: string;
  readonly info: StreamInfo;
  /** The settings that the stream was made with. */
  readonly own: Partial<StreamSettings>;
  exists: boolean;
  startOffset: bigint;
  readonly stored: StoredRequest[];
  readonly lost: GoldenRequest[];
}

/** A vault that keeps book. */
export interface GoldenVault {
  readonly memory: MemoryStore;
  /** Begins another leader's term. The one before is gone: it has shut down where `closed`, else it was killed. */
  lead(epoch: number, end: "closed" | "killed"): Promise<void>;
  create(name: string, about: string, own?: Partial<StreamSettings>): Promise<void>;
  /** Publishes these requests in one commit. */
  publish(name: string, ...requests: GoldenRequest[]): Promise<void>;
  /** Trims the stream before `offset`. */
  trim(name: string, offset: bigint): Promise<void>;
  /** Closes the stream's open segment. */
  roll(name: string): Promise<void>;
  /** The vault does `what` to a stream, which storage refuses from the call on that `refused` picks. */
  interrupt(name: string, call: StoreCall, refused: (blob: string) => boolean, what: Interrupted): Promise<void>;
  /** Undoes the sectors of the last commit that `missing` picks, by its frames. Its last `lostCount` requests are lost. */
  tear(
    name: string,
    lostCount: number,
    missing: (frames: readonly Frame[]) => [from: number, to: number],
  ): Promise<void>;
  /** Deletes these blobs of a stream, which storage has lost. */
  lose(name: string, blob: RegExp): Promise<void>;
  /** Moves time on. */
  wait(ms: number): Promise<void>;
  /** The books. */
  finish(): Promise<{ madeAt: number; streams: Record<string, GoldenStream> }>;
}

/** What is cut short. */
export type Interrupted = { readonly kind: "publish"; readonly request: GoldenRequest } | { readonly kind: "delete" };

/** Makes an empty vault that leads under epoch 1. */
export function createGoldenVault(t: ExecutionContext): GoldenVault {
  const engine = createEngine(t, { settings, defaults });
  const { clock, memory, faulty } = engine;
  const books = new Map<string, Book>();
  let scope = "";
  let ids = 0;
  let node: TestNode;
  let vault: Vault;
  begin(1);

  function begin(epoch: number): void {
    node = engine.open({ epoch });
    const id = () => createHash("sha256").update(`${scope} ${ids++}`).digest("hex").slice(0, 32);
    vault = new Vault({ ...node.engine, clock: { ...clock, id } });
  }

  /** Each step has its own ids, so that one more or less does not change those of all steps behind it. */
  async function step<T>(name: string, run: () => Promise<T>): Promise<T> {
    await clock.advance(stepMs);
    scope = `${name} ${clock.now()}`;
    ids = 0;
    return drive(clock, run());
  }

  function send(name: string, request: GoldenRequest): Promise<StoredRequest> {
    const { records, options } = toPublish(request);
    return publish(vault, name, records, options).then(({ firstOffset, timestamp }) => ({
      firstOffset: String(firstOffset),
      timestamp,
      ...request,
    }));
  }

  async function framesOf(name: string): Promise<{ blob: string; frames: Frame[] }> {
    const { incarnation } = books.get(name)!.info;
    const segment = (await listSegments(memory, segmentPrefix(name, incarnation))).at(-1)!;
    const source = { store: memory, blob: segment.blob, seed: incarnationSeed(incarnation) };
    const frames: Frame[] = [];
    for await (const frame of scanFrames(source, scanStart(segment.firstOffset, 0))) frames.push(frame);
    return { blob: segment.blob, frames };
  }

  return {
    memory,
    async lead(epoch, end) {
      if (end === "closed") await step("close", () => vault.close());
      node.leadership.depose();
      vault.abandon();
      begin(epoch);
    },
    async create(name, about, own = {}) {
      const info = await step(name, () => vault.createStream(name, own));
      books.set(name, { about, info, own, exists: true, startOffset: 0n, stored: [], lost: [] });
    },
    async publish(name, ...requests) {
      const stored = await step(name, () => Promise.all(requests.map((request) => send(name, request))));
      books.get(name)!.stored.push(...stored);
    },
    async trim(name, offset) {
      books.get(name)!.startOffset = await step(name, () => vault.trimStream(name, { offset }));
    },
    async roll(name) {
      await step(name, () => vault.use(name, (stream) => stream.rollIfAged()));
    },
    async interrupt(name, call, refused, what) {
      const denied = new VaultError("denied", "storage refuses it");
      faulty.set(call, (forward, [blob]) => (refused(String(blob)) ? Promise.reject(denied) : forward()));
      const act = () => (what.kind === "delete" ? vault.deleteStream(name, undefined) : send(name, what.request));
      const outcome = await step(name, () => Promise.allSettled([act()]));
      faulty.set(call, undefined);
      const book = books.get(name)!;
      if (what.kind === "delete") book.exists = false;
      else if (outcome[0].status === "rejected") book.lost.push(what.request);
      else book.stored.push(outcome[0].value as StoredRequest);
    },
    async tear(name, lostCount, missing) {
      const { blob, frames } = await framesOf(name);
      const { commitPosition } = frames.at(-1)!;
      const [from, to] = missing(frames.filter((frame) => frame.commitPosition === commitPosition));
      const start = Math.ceil(from / sectorBytes) * sectorBytes;
      const end = Math.floor(to / sectorBytes) * sectorBytes;
      memory.damage(blob, start, Buffer.alloc(end - start));
      const book = books.get(name)!;
      book.lost.push(...book.stored.splice(-lostCount).map(unsent));
    },
    async lose(name, blob) {
      const { items } = await memory.list(`streams/${name}/`, 1000);
      for (const item of items) if (blob.test(item.name)) await memory.remove(item.name);
    },
    async wait(ms) {
      await clock.advance(ms);
    },
    async finish() {
      await clock.advance(stepMs);
      return {
        madeAt: clock.now(),
        streams: Object.fromEntries([...books].map(([name, book]) => [name, toGolden(book)])),
      };
    },
  };
}

function toGolden({ about, info, own, exists, startOffset, stored, lost }: Book): GoldenStream {
  const last = stored.at(-1);
  return {
    about,
    exists,
    incarnation: info.incarnation,
    createdAt: info.createdAt,
    settings: own,
    startOffset: String(startOffset),
    nextOffset: last === undefined ? "0" : String(BigInt(last.firstOffset) + BigInt(last.records.length)),
    stored,
    lost,
  };
}

/** The request as it was sent, without what a stored one has beside it. */
function unsent({ producer, records }: StoredRequest): GoldenRequest {
  return producer === undefined ? { records } : { producer, records };
}
