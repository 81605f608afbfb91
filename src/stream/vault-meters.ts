/** What is told of a vault as a whole, and of publishes that are refused. */
import { VaultError } from "../errors.ts";
import { findBatchTraces } from "../segment/record-traces.ts";
import type { Counter, Span, Telemetry } from "../telemetry.ts";
import type { PublishCommand } from "./commands.ts";
import type { Engine } from "./engine.ts";
import type { PendingBudget } from "./pending-budget.ts";

/** Tells of one vault. */
export interface VaultMeters {
  /** A publish has come. Undefined where it is not recorded. */
  begin(command: PublishCommand): Span | undefined;
  /** It failed. */
  fail(span: Span | undefined, error: unknown): void;
  /** Ends telling. */
  close(): void;
}

/** Counts what is read from the newest frames in memory, and what was not there. */
export interface CacheReads {
  readonly hits: Counter;
  readonly misses: Counter;
}

/** Makes the counters of tail reads. */
export function countCacheReads(telemetry: Telemetry): CacheReads {
  const counter = (result: string) =>
    telemetry.counter("messagevault.tail_cache.reads", { "messagevault.cache.result": result });
  return { hits: counter("hit"), misses: counter("miss") };
}

/** Makes what tells of a vault whose publishes wait in `pending`, and whose open streams are counted by `openStreams`. */
export function createVaultMeters(engine: Engine, pending: PendingBudget, openStreams: () => number): VaultMeters {
  const { telemetry, tailBudget } = engine;
  const ends = [
    telemetry.observe("messagevault.publish.queue.length", (report) => report(pending.count)),
    telemetry.observe("messagevault.publish.queue.size", (report) => report(pending.usedBytes)),
    telemetry.observe("messagevault.tail_cache.size", (report) => report(tailBudget.usedBytes)),
    telemetry.observe("messagevault.streams.open", (report) => report(openStreams())),
  ];
  return {
    begin: (command) => (telemetry.tracing ? startSpan(engine, command) : undefined),
    fail(span, error) {
      const kind = error instanceof VaultError ? error.kind : "_OTHER";
      telemetry.counter("messagevault.publish.failures", { "error.type": kind }).add(1);
      span?.end(error);
    },
    close() {
      for (const end of ends) end();
    },
  };
}

/** A child of the call, or, where that is not recorded, of the first record that is; linked with the records' contexts. */
function startSpan({ telemetry }: Engine, { stream, batch }: PublishCommand): Span | undefined {
  const links = findBatchTraces(batch);
  const parent = telemetry.active?.context ?? links[0];
  if (parent === undefined) return undefined;
  const attributes = {
    "messaging.system.name": "message_vault",
    "messaging.operation.name": "publish",
    "messaging.destination.name": stream,
    "messaging.batch.message_count": batch.count,
  };
  return telemetry.startSpan("publish", { subject: stream, parent, links, attributes });
}
