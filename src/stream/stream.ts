/**
 * A stream that is open on the node that leads: writes go through its committer, reads through its log and tail cache.
 *
 * Invariants: what readers see is acknowledged; `view` is the log that was opened last, which may be read even while it
 * must not be written to any more (`writable` is false then, until it is opened again); once `ending` is set nothing
 * more is written or read.
 */
import { isKind, VaultError } from "../errors.ts";
import type { Commit } from "../segment/commit.ts";
import type { Frame } from "../segment/format.ts";
import type { PublishCommand, PublishResult, StreamInfo, StreamSettings } from "./commands.ts";
import type { Engine } from "./engine.ts";
import { type CommitTarget, GroupCommit } from "./group-commit.ts";
import { findTimestamp, readFrames, sealedSegment } from "./log-reader.ts";
import { changeMetadata, effectiveSettings, type StreamMetadata, streamNotFound } from "./metadata.ts";
import { Notifier } from "./notifier.ts";
import { openLog } from "./open-log.ts";
import { PendingBudget } from "./pending-budget.ts";
import type { StreamLog } from "./stream-log.ts";
import { TailCache } from "./tail-cache.ts";

/** The error for an offset that is before the stream's start or beyond its tail. */
export function outOfRange(stream: Stream, offset: bigint): VaultError {
  const { startOffset: first, nextOffset: next } = stream;
  const message = `offset ${offset} is not in stream ${stream.name}, which goes from ${first} to ${next}`;
  return new VaultError("outOfRange", message, {
    resource: stream.name,
    field: "offset",
    found: { first_offset: String(first), next_offset: String(next) },
  });
}

/** What is told to a publisher that goes over a limit. */
const retryAfterMs = 100;

/** One stream. */
export class Stream implements CommitTarget {
  readonly name: string;
  readonly pending: PendingBudget;
  readonly committer: GroupCommit;
  /** How many subscriptions read it: while there are any, it stays open. */
  readers = 0;
  private readonly engine: Engine;
  private readonly tail: TailCache;
  private readonly changed: Notifier;
  private current: StreamMetadata;
  private changing: Promise<void> = Promise.resolve();
  private view: StreamLog | undefined;
  private writable = false;
  private opening: Promise<StreamLog> | undefined;
  private ending: VaultError | undefined;

  constructor(engine: Engine, name: string, metadata: StreamMetadata, pending: PendingBudget) {
    this.engine = engine;
    this.name = name;
    this.current = metadata;
    this.pending = new PendingBudget(engine.clock, engine.settings.streamPendingBytesMax, pending);
    this.tail = new TailCache(engine.tailBudget);
    this.changed = new Notifier(engine.clock);
    this.committer = new GroupCommit(engine, this);
  }

  get incarnation(): string {
    return this.current.incarnation;
  }

  /** The stream's stored metadata, as it was read or changed last. */
  get metadata(): StreamMetadata {
    return this.current;
  }

  /** The settings in force. */
  get settings(): StreamSettings {
    return effectiveSettings(this.current.settings, this.engine.settings.streamDefaults);
  }

  /** The first offset that may be read. */
  get startOffset(): bigint {
    return this.current.startOffset;
  }

  /** The offset behind the last acknowledged record. */
  get nextOffset(): bigint {
    return this.log.nextOffset;
  }

  /** The timestamp of the last record in milliseconds since 1970; undefined while there is none. */
  get lastTimestamp(): number | undefined {
    return this.log.nextOffset === 0n ? undefined : this.log.lastTimestamp;
  }

  /** The log as it was opened last: for reading. */
  get log(): StreamLog {
    if (this.ending !== undefined) throw this.ending;
    if (this.view === undefined) throw new VaultError("unavailable", `stream ${this.name} is not open`);
    return this.view;
  }

  /** Appends a batch. Throws `overloaded` where too much is pending. */
  async publish(command: PublishCommand): Promise<PublishResult> {
    if (this.pending.exhausted) {
      const message = `too much is pending for stream ${this.name}: more than ${this.pending.bytesMax} bytes; slow down`;
      throw new VaultError("overloaded", message, { resource: this.name, retryAfterMs });
    }
    return this.committer.publish(command);
  }

  /** The log, to be written to: opened where it is not. One opening at a time. */
  openLog(): Promise<StreamLog> {
    if (this.ending !== undefined) return Promise.reject(this.ending);
    if (this.writable && this.view !== undefined && isHeld(this.view)) return Promise.resolve(this.view);
    this.opening ??= this.open().finally(() => {
      this.opening = undefined;
    });
    return this.opening;
  }

  /** Makes the next write open the log again. */
  dropLog(): void {
    this.writable = false;
  }

  /** Makes an acknowledged commit visible. */
  committed(_log: StreamLog, commit: Commit): void {
    this.tail.append(commit);
    this.changed.notify();
  }

  /** Frames from the one with `offset` on. See `readFrames`. */
  async framesFrom(offset: bigint): Promise<readonly Frame[]> {
    try {
      return await readFrames(this.engine, this.log, this.tail, offset);
    } catch (error) {
      // The segment went while it was read: the stream was deleted, or trimmed.
      if (isKind(error, "notFound") && this.ending !== undefined) throw this.ending;
      if (isKind(error, "notFound") && offset < this.startOffset) throw outOfRange(this, offset);
      throw error;
    }
  }

  /** The first offset at or after `timestamp`, in milliseconds since 1970, of what is kept. */
  async offsetAt(timestamp: number): Promise<bigint> {
    const offset = await findTimestamp(this.engine, this.log, this.tail, timestamp);
    return offset < this.startOffset ? this.startOffset : offset;
  }

  /** Resolves when there is something new, after `delayMs`, or when `signal` is aborted. */
  waitForChange(delayMs: number, signal: AbortSignal): Promise<void> {
    return this.changed.wait(delayMs, signal);
  }

  /** Throws if this node does not lead any more: then what it knows of the tail may be old. */
  assertCurrent(): void {
    if (this.ending !== undefined) throw this.ending;
    this.engine.leadership.fence();
  }

  /**
   * Changes the stream's metadata, see `changeMetadata` there: one change at a time, so that what is known here never
   * goes back. Throws `notFound` where the stream was made anew.
   */
  changeMetadata(change: (metadata: StreamMetadata) => StreamMetadata): Promise<void> {
    const { store, clock } = this.engine;
    const changed = this.changing.then(async () => {
      const { metadata } = await changeMetadata(store, clock, this.name, (current) => {
        if (current.incarnation !== this.incarnation) throw streamNotFound(this.name);
        return change(current);
      });
      this.current = metadata;
      this.changed.notify();
    });
    this.changing = changed.catch(() => undefined);
    return changed;
  }

  /** What GetStream tells. */
  async describe(): Promise<StreamInfo> {
    const { log, startOffset, nextOffset } = this;
    const segments = await Promise.all(log.sealed.map((segment) => sealedSegment(this.engine, log, segment)));
    const sealedBytes = segments.reduce((sum, segment) => sum + segment.endPosition, 0);
    const first = startOffset < nextOffset ? await this.framesFrom(startOffset).catch(ifDamaged) : [];
    return {
      name: this.name,
      incarnation: this.incarnation,
      settings: this.settings,
      createdAt: this.current.createdAt,
      firstOffset: startOffset,
      nextOffset,
      firstTimestamp: first[0]?.timestamp,
      lastTimestamp: this.lastTimestamp,
      storedBytes: sealedBytes + log.writer.position,
      segmentCount: log.sealed.length + 1,
    };
  }

  /** See `StreamLog.ensureCheckpoint`. */
  async ensureCheckpoint(): Promise<void> {
    await this.committer.exclusively(async () => {
      const log = await this.openLog();
      await log.ensureCheckpoint();
    });
  }

  /** Closes the open segment if its first record is older than the stream's `segmentAgeMs`. */
  async rollIfAged(): Promise<void> {
    await this.committer.exclusively(async () => {
      const log = await this.openLog();
      if (log.rollDue(0, this.settings)) await log.roll(this.settings);
    });
  }

  /** Whether the stream's use on this node has ended. */
  get ended(): boolean {
    return this.ending !== undefined;
  }

  /** Ends the stream's use on this node: `reason` is what readers and writers get from now on. */
  end(reason: VaultError): void {
    this.ending = reason;
    this.tail.clear();
    this.changed.notify();
  }

  /** Waits for what is pending and writes a checkpoint. */
  async close(): Promise<void> {
    await this.committer.exclusively(async () => {
      if (this.writable && this.view !== undefined && isHeld(this.view)) await this.view.close();
    });
    this.end(new VaultError("unavailable", `stream ${this.name} is closed here; try again`, { retryAfterMs }));
  }

  private async open(): Promise<StreamLog> {
    const before = this.view?.nextOffset;
    const log = await openLog(this.engine, this.name, this.current).catch((error: unknown) => {
      // Deleted, by us or by somebody else: nothing is left to read or to write.
      if (isKind(error, "notFound")) this.end(error);
      throw error;
    });
    // What the cache holds must reach up to the end without a gap.
    if (before !== log.nextOffset) this.tail.clear();
    this.view = log;
    this.writable = true;
    this.changed.notify();
    return log;
  }
}

/** A stream whose first record is damaged can be described all the same. */
function ifDamaged(error: unknown): readonly Frame[] {
  if (isKind(error, "corrupt")) return [];
  throw error;
}

function isHeld(log: StreamLog): boolean {
  try {
    log.fence.assertHeld();
    return true;
  } catch (error) {
    if (isKind(error, "fenced")) return false;
    throw error;
  }
}
