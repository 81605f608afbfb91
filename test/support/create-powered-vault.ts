import type { ExecutionContext } from "ava";
import type { BlobStore } from "../../src/blob/blob-store.ts";
import { openFileStore } from "../../src/blob/file.ts";
import { systemClock } from "../../src/clock.ts";
import { loadConfig } from "../../src/config.ts";
import { VaultError } from "../../src/errors.ts";
import { startElection } from "../../src/leader/election.ts";
import { silentLog } from "../../src/log.ts";
import { ByteCache } from "../../src/segment/byte-cache.ts";
import { createBlockCache } from "../../src/segment/reader.ts";
import type { Engine } from "../../src/stream/engine.ts";
import { noTelemetry } from "../../src/telemetry.ts";
import { TailBudget } from "../../src/stream/tail-cache.ts";
import { Vault } from "../../src/stream/vault.ts";
import type { LossyFileSystem, Mount } from "./create-lossy-file-system.ts";
import { createWatch } from "./create-watch.ts";
import { waitUntil } from "./wait-until.ts";

/** A vault with storage and election on a file system that can lose its power; only the network is missing. */
export interface PoweredVault {
  readonly vault: Vault;
  readonly store: BlobStore;
  /** The power fails at that file operation from now on. */
  cutAfter(operations: number): void;
  /** Ends in an orderly way. */
  close(): Promise<void>;
  /** What is left to do when the power is gone: nothing reaches the disk any more. */
  abandon(): Promise<void>;
}

const KiB = 1024;

/** Opens a vault with small segments and caches on `files`; it leads when this resolves. */
export async function createPoweredVault(t: ExecutionContext, files: LossyFileSystem): Promise<PoweredVault> {
  const mount: Mount = files.mount();
  const store = await openFileStore(files.directory, systemClock, mount.fileSystem, { openFilesMax: 8 });
  const config = loadConfig({}, {});
  const { leaseSeconds, renewMs, electionPollMs: pollMs, clockSkewMsMax } = config;
  const election = await startElection({
    store,
    clock: systemClock,
    log: silentLog,
    nodeId: systemClock.id(),
    endpoint: "127.0.0.1:1",
    settings: { leaseSeconds, renewMs, pollMs, clockSkewMsMax },
    watch: createWatch(),
  });
  let gone = false;
  const leadership: Engine["leadership"] = {
    get leads() {
      return !gone && election.role === "leader";
    },
    fence() {
      if (gone) throw new VaultError("unavailable", "the power is gone");
      return election.fence();
    },
    claimAbove: (epoch) => election.claimAbove(epoch),
  };
  const { producerWindowMs, segmentAgeMs } = config;
  const streamDefaults = {
    segmentBytes: 32 * KiB,
    segmentAgeMs,
    retentionAgeMs: 0,
    retentionBytes: 0,
    producerWindowMs,
  };
  const vault = new Vault({
    store,
    clock: systemClock,
    log: silentLog,
    leadership,
    settings: { ...config, settleMs: 50, frameBytes: 8 * KiB, streamDefaults },
    caches: {
      blocks: createBlockCache(64 * KiB, 8),
      indexes: new ByteCache(64 * KiB, 8),
      blockBytes: 16 * KiB,
      readAheadBlocks: 1,
    },
    tailBudget: new TailBudget(16 * KiB),
    telemetry: noTelemetry,
  });
  async function abandon(): Promise<void> {
    gone = true;
    vault.abandon();
    await election.close();
    await store.close();
  }
  t.teardown(() => (gone ? undefined : abandon()));
  await waitUntil(() => election.role === "leader", "the vault leads");
  return {
    vault,
    store,
    cutAfter: (operations) => mount.cutAfter(operations),
    abandon,
    async close() {
      await vault.close();
      await abandon();
    },
  };
}
