import type { ExecutionContext } from "ava";
import { createMemoryStore } from "../../src/blob/memory.ts";
import type { MemoryStore } from "../../src/blob/memory.ts";
import type { BlobStore, Fence } from "../../src/blob/blob-store.ts";
import { VaultError } from "../../src/errors.ts";
import { silentLog } from "../../src/log.ts";
import type { Log } from "../../src/log.ts";
import { ByteCache } from "../../src/segment/byte-cache.ts";
import { createBlockCache } from "../../src/segment/reader.ts";
import type { StreamSettings } from "../../src/stream/commands.ts";
import type { Engine, EngineSettings, Leadership } from "../../src/stream/engine.ts";
import { noTelemetry, type Telemetry } from "../../src/telemetry.ts";
import { TailBudget } from "../../src/stream/tail-cache.ts";
import { Vault } from "../../src/stream/vault.ts";
import { createClock } from "./create-clock.ts";
import type { ManualClock } from "./create-clock.ts";
import { drive } from "./drive.ts";
import { createFaultyStore } from "./create-faulty-store.ts";
import type { FaultyStore } from "./create-faulty-store.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** What a test may set: everything else is as small as it can usefully be. */
export interface EngineOptions {
  readonly seed?: number;
  readonly settings?: Partial<EngineSettings>;
  readonly defaults?: Partial<StreamSettings>;
  readonly tailBytes?: number;
  readonly blockBytes?: number;
  readonly readCacheBytes?: number;
  readonly log?: Log;
  readonly telemetry?: Telemetry;
}

/** A leader that a test can depose. */
export interface TestLeadership extends Leadership {
  /** The time of storage's clock at which its fences were held for certain. */
  provenAt: number | undefined;
  /** Ends this leadership: `fence()` and what holds its fences throw from now on. */
  depose(): void;
  /** Begins a new leadership of the same node. */
  lead(epoch: number): void;
}

/** One vault on the store, as one process would open it. */
export interface TestNode {
  readonly engine: Engine;
  readonly vault: Vault;
  readonly leadership: TestLeadership;
}

/** A store with everything that vaults on it need. */
export interface TestEngine {
  readonly clock: ManualClock;
  readonly memory: MemoryStore;
  readonly faulty: FaultyStore;
  /** Opens a vault, as the leader of the next epoch or as a `standby`; closed at the test's end. */
  open(options?: EngineOptions & { epoch?: number; store?: BlobStore; standby?: boolean }): TestNode;
}

const defaultSettings: Omit<EngineSettings, "streamDefaults"> = {
  autoCreateStreams: true,
  streamPendingBytesMax: 64 * MiB,
  pendingBytesMax: 64 * MiB,
  lingerMs: 0,
  commitBytesMax: 4 * MiB,
  frameBytes: 256 * KiB,
  responseBytes: 256 * KiB,
  openStreamsMax: 1000,
  subscriptionsMax: 1000,
  producersMax: 10_000,
  producerRequestsMax: 64,
  settleMs: 30_000,
  followPollMs: 1000,
  wokenAtOnce: 128,
  retentionSweepMs: 5000,
  telemetryStreamsMax: 100,
};

const defaultStream: StreamSettings = {
  segmentBytes: 16 * MiB,
  segmentAgeMs: 86_400_000,
  retentionAgeMs: 0,
  retentionBytes: 0,
  producerWindowMs: 86_400_000,
};

/** Makes an empty store in memory on a clock that stands still, behind one that fails as it is told. */
export function createEngine(t: ExecutionContext, common: EngineOptions = {}): TestEngine {
  const clock = createClock({ seed: common.seed ?? 1 });
  const memory = createMemoryStore(clock);
  const faulty = createFaultyStore(memory);
  let epochs = 0;
  return {
    clock,
    memory,
    faulty,
    open(own = {}) {
      const options = { ...common, ...own };
      if (own.standby !== true) epochs = own.epoch ?? epochs + 1;
      const leadership = createLeadership(epochs);
      if (own.standby === true) leadership.depose();
      const engine: Engine = {
        store: own.store ?? faulty.store,
        clock,
        log: options.log ?? silentLog,
        telemetry: options.telemetry ?? noTelemetry,
        leadership,
        settings: {
          ...defaultSettings,
          ...common.settings,
          ...own.settings,
          streamDefaults: { ...defaultStream, ...common.defaults, ...own.defaults },
        },
        caches: {
          blocks: createBlockCache(options.readCacheBytes ?? 8 * MiB, 8),
          indexes: new ByteCache(MiB, 8),
          blockBytes: options.blockBytes ?? 64 * KiB,
          readAheadBlocks: 1,
        },
        tailBudget: new TailBudget(options.tailBytes ?? 16 * MiB),
      };
      const vault = new Vault(engine);
      t.teardown(async () => {
        leadership.depose();
        await drive(clock, vault.close());
      });
      return { engine, vault, leadership };
    },
  };
}

function createLeadership(first: number): TestLeadership {
  let held = true;
  let epoch = first;
  const fenceOf = (number: number): Fence => ({
    epoch: number,
    get provenAt() {
      return leadership.provenAt;
    },
    assertHeld() {
      if (!held || number !== epoch) throw new VaultError("fenced", `epoch ${number} is over`);
    },
  });
  const leadership: TestLeadership = {
    provenAt: undefined,
    get leads() {
      return held;
    },
    fence() {
      if (!held) throw new VaultError("unavailable", "this node does not lead");
      return fenceOf(epoch);
    },
    async claimAbove(found) {
      held = false;
      throw new VaultError("unavailable", `epoch ${found} leads, not ${epoch}`);
    },
    depose() {
      held = false;
      epoch = -1;
    },
    lead(next) {
      held = true;
      epoch = next;
    },
  };
  return leadership;
}
