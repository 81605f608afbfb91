import type { BlobStore, Fence } from "../blob/blob-store.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Telemetry } from "../telemetry.ts";
import type { ReadCaches } from "../segment/reader.ts";
import type { StreamSettings } from "./commands.ts";
import type { TailBudget } from "./tail-cache.ts";

/** The limits and sizes that streams work with; `config.ts` says what each means and its default. */
export interface EngineSettings {
  readonly autoCreateStreams: boolean;
  readonly streamPendingBytesMax: number;
  readonly pendingBytesMax: number;
  readonly lingerMs: number;
  readonly commitBytesMax: number;
  readonly frameBytes: number;
  readonly responseBytes: number;
  readonly openStreamsMax: number;
  readonly subscriptionsMax: number;
  readonly producersMax: number;
  readonly producerRequestsMax: number;
  readonly settleMs: number;
  readonly followPollMs: number;
  readonly wokenAtOnce: number;
  readonly retentionSweepMs: number;
  readonly telemetryStreamsMax: number;
  /** The settings of a stream that does not set its own. */
  readonly streamDefaults: StreamSettings;
}

/** Who may write, as the streams see it. */
export interface Leadership {
  /** Whether this node leads. */
  readonly leads: boolean;
  /** The fence to write under. Throws `unavailable` if this node does not lead. */
  fence(): Fence;
  /** A segment with a number above our epoch was found: claim an epoch above it, or learn that we do not lead. */
  claimAbove(epoch: number): Promise<void>;
}

/** What all streams of a vault share. */
export interface Engine {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly telemetry: Telemetry;
  readonly leadership: Leadership;
  readonly settings: EngineSettings;
  readonly caches: ReadCaches;
  readonly tailBudget: TailBudget;
}
