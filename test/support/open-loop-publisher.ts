/** Publishers that never stop: one by the clock, whatever the answers; and two that compete for each offset. */
import { sleep, systemClock } from "../../src/clock.ts";
import { encodeBatch } from "../../src/client.ts";
import type { Pipeline, VaultClient } from "../../src/client.ts";
import { isKind } from "../../src/errors.ts";
import { recordValue } from "./failover-history.ts";
import type { History } from "./failover-history.ts";

/** A publisher under way. */
export interface RunningPublisher {
  /** How many records were not published when it was their turn, as too many were waiting already. */
  readonly skippedCount: number;
  /** Stops it; resolves when everything is answered. */
  stop(): Promise<void>;
  /** Stops it, and leaves what is not answered. */
  abandon(): void;
}

/** How to publish by the clock. */
export interface OpenLoopOptions {
  readonly source: string;
  /** Take turns. */
  readonly streams: readonly string[];
  readonly everyMs: number;
  /** Whether each record says the offset that it must get: then nobody else may publish to these streams. */
  readonly expectOffsets?: boolean;
}

// The pipeline itself takes 1024 requests.
const pendingMax = 900;
// How long the client waits for an answer before it tries another node: less than by default, as nodes freeze here.
const answerTimeoutMs = 8000;

/**
 * Publishes a record every few milliseconds, each with a producer sequence, and the client's own retry. A publish that
 * fails ends its pipeline; the next one begins another, as another producer.
 */
export function startOpenLoop(client: VaultClient, history: History, options: OpenLoopOptions): RunningPublisher {
  const { source, streams, everyMs, expectOffsets = false } = options;
  const nextOffsets = new Map<string, bigint>(streams.map((stream) => [stream, 0n]));
  let pipeline: Pipeline | undefined = client.pipeline({ answerTimeoutMs, inFlightRequestsMax: 64 });
  let generation = 0;
  let pendingCount = 0;
  let skippedCount = 0;
  let turn = 0;

  function publishNext(): void {
    const stream = streams[turn++ % streams.length]!;
    if (pipeline === undefined || pendingCount >= pendingMax) {
      skippedCount++;
      return;
    }
    const mine = pipeline;
    const attempt = history.begin(stream, `${source}/${generation}`);
    const expectedOffset = expectOffsets ? nextOffsets.get(stream) : undefined;
    if (expectedOffset !== undefined) nextOffsets.set(stream, expectedOffset + 1n);
    pendingCount++;
    mine
      .publish(stream, encodeBatch([{ value: recordValue(attempt.id) }]), { expectedOffset })
      .then((receipt) => history.noteStored(attempt, receipt))
      .catch((error: unknown) => {
        history.noteFailed(attempt, error);
        if (pipeline === mine) replace().catch(() => undefined);
      })
      .finally(() => pendingCount--);
  }

  async function replace(): Promise<void> {
    pipeline = undefined;
    // What the last one sent may be there or not: only the vault can say where to go on.
    if (expectOffsets)
      for (const stream of streams) nextOffsets.set(stream, (await client.getStream(stream)).nextOffset);
    generation++;
    pipeline = client.pipeline({ answerTimeoutMs, inFlightRequestsMax: 64 });
  }

  const startedAt = systemClock.monotonic();
  let ticks = 0;
  const timer = setInterval(() => {
    for (; ticks * everyMs < systemClock.monotonic() - startedAt; ticks++) publishNext();
  }, everyMs);
  return {
    get skippedCount() {
      return skippedCount;
    },
    async stop() {
      clearInterval(timer);
      await pipeline?.close();
    },
    abandon: () => clearInterval(timer),
  };
}

/**
 * Publishes to a stream that others publish to as well, by expected offsets and without a producer: each offset has one
 * winner, and an answer that was lost stays unknown.
 */
export function startContender(
  client: VaultClient,
  history: History,
  source: string,
  stream: string,
  everyMs: number,
): RunningPublisher {
  const stopping = new AbortController();
  let expectedOffset = 0n;
  async function publishNext(): Promise<void> {
    const attempt = history.begin(stream, source);
    try {
      const receipt = await client.publish(stream, [{ value: recordValue(attempt.id) }], {
        expectedOffset,
        timeoutMs: answerTimeoutMs,
      });
      history.noteStored(attempt, receipt);
      expectedOffset = receipt.nextOffset;
    } catch (error) {
      history.noteFailed(attempt, error);
      if (isKind(error, "conflict")) expectedOffset = BigInt(error.detail.found?.["nextOffset"] ?? expectedOffset);
    }
  }
  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await publishNext();
      await sleep(systemClock, everyMs, stopping.signal);
    }
  }
  const running = run();
  return {
    skippedCount: 0,
    stop() {
      stopping.abort();
      return running;
    },
    abandon: () => stopping.abort(),
  };
}
