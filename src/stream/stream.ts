/**
 * A stream that is open on the node that leads: writes go through its committer, reads through its log and tail cache.
 *
 * Invariants: what readers see is acknowledged; `view` is the log that was opened last, which may be read even while it
 * must not be written to any more (`writable` is false then, until it is opened again); once `ending` is set nothing
 * more is written or read.
 */
import { isKind, VaultError } from "../errors.ts";
import type { Loan } from "../segment/byte-cache.ts";
import type { Commit } from "../segment/commit.ts";
import type { Frame } from "../segment/format.ts";
import type { PublishCommand, PublishResult, StreamSettings } from "./commands.ts";
import type { CommitFeed, EndingStream } from "./commit-feed.ts";
import { describeLog, describeSegments } from "./describe-log.ts";
import type { Engine } from "./engine.ts";
import { type CommitTarget, GroupCommit } from "./group-commit.ts";
import { findTimestamp, readFrames } from "./log-reader.ts";
import { changeMetadata, effectiveSettings, type StreamMetadata, streamNotFound } from "./metadata.ts";
import { Notifier } from "./notifier.ts";
import { openLog } from "./open-log.ts";
import { PendingBudget, type Room } from "./pending-budget.ts";
import { SharedRun } from "./shared-run.ts";
import type { StreamEnd } from "./stream-end.ts";
import type { StreamLog } from "./stream-log.ts";
import { outOfRange, type StreamView } from "./stream-view.ts";
import { TailCache } from "./tail-cache.ts";
import { type CacheReads, countCacheReads } from "./vault-meters.ts";

/** Storage tells whole seconds, and its machines' clocks may differ: by less than this, in milliseconds. */
const storageClocksMs = 1000;

/** What is told to a publisher that goes over a limit. */
const retryAfterMs = 100;

/** One stream. */
export class Stream implements CommitTarget, StreamView, EndingStream {
  readonly name: string;
  readonly pending: PendingBudget;
  readonly committer: GroupCommit;
  private readonly engine: Engine;
  private readonly feed: CommitFeed;
  private readonly tailChecks: SharedRun;
  private readonly tail: TailCache;
  private readonly changed: Notifier;
  private readonly tailReads: CacheReads;
  private current: StreamMetadata;
  private changing: Promise<void> = Promise.resolve();
  private view: StreamLog | undefined;
  private writable = false;
  private opening: Promise<StreamLog> | undefined;
  private ending: VaultError | undefined;
  private hasMoved = false;
  private users = 0;

  constructor(engine: Engine, name: string, metadata: StreamMetadata, pending: PendingBudget, feed: CommitFeed) {
    this.engine = engine;
    this.feed = feed;
    this.name = name;
    this.current = metadata;
    this.pending = new PendingBudget(engine.settings.streamPendingBytesMax, pending);
    this.tail = new TailCache(engine.tailBudget);
    this.changed = new Notifier(engine.clock, engine.settings.wokenAtOnce);
    this.tailReads = countCacheReads(engine.telemetry);
    this.committer = new GroupCommit(engine, this);
    this.tailChecks = new SharedRun(() => this.askTail());
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

  /** Appends a batch. Throws `overloaded` where too much is pending and it has no `room`, which is given back. */
  async publish(command: PublishCommand, room?: Room): Promise<PublishResult> {
    if (room === undefined && this.pending.exhausted) {
      const message = `too much is pending for stream ${this.name}: more than ${this.pending.bytesMax} bytes; slow down`;
      throw new VaultError("overloaded", message, { resource: this.name, retryAfterMs });
    }
    const published = this.committer.publish(command);
    room?.release();
    return published;
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
    this.tail.append(commit, true);
    this.announce();
  }

  /** Frames from the one with `offset` on. See `readFrames`. */
  async framesFrom(offset: bigint, readAhead: boolean): Promise<Loan<readonly Frame[]>> {
    const cached = this.tail.framesFrom(offset);
    if (cached !== undefined) {
      this.tailReads.hits.add(1);
      return cached;
    }
    this.tailReads.misses.add(1);
    try {
      return await readFrames(this.engine, this.log, this.tail, offset, readAhead);
    } catch (error) {
      if (!isKind(error, "notFound")) throw error;
      // The segment went while it was read: the stream was deleted, or trimmed.
      if (this.ending !== undefined) throw this.ending;
      if (offset >= this.startOffset) await this.refresh();
      if (offset < this.startOffset) throw outOfRange(this, offset);
      throw error;
    }
  }

  /** The first offset at or after `timestamp`, in milliseconds since 1970, of what is kept. */
  offsetAt(timestamp: number): Promise<bigint> {
    return this.againIfTrimmed(async () => {
      const offset = await findTimestamp(this.engine, this.log, this.tail, timestamp);
      return offset < this.startOffset ? this.startOffset : offset;
    });
  }

  /** Resolves when there is something new, after `delayMs`, or when `signal` is aborted. */
  waitForChange(delayMs: number, signal: AbortSignal): Promise<void> {
    return this.changed.wait(delayMs, signal);
  }

  /**
   * Until when no record will come any more: records get timestamps from the fence's proven time on, and every later
   * leader proves a later one before it writes. Undefined while a commit is under way, or one may be stored that is not
   * known: it may have an earlier timestamp.
   */
  get completeUntil(): number | undefined {
    const provenAt = this.writable && !this.committer.busy ? this.view?.fence.provenAt : undefined;
    return provenAt === undefined ? undefined : provenAt - storageClocksMs;
  }

  /** Whether this node does not lead any more: what it knows of the tail may be old then. */
  get moved(): boolean {
    return this.hasMoved || !this.engine.leadership.leads;
  }

  assertOpen(): void {
    if (this.ending !== undefined) throw this.ending;
  }

  /**
   * Asks storage whether the stream is this node's still: a leader that was wrongly suspected may not know that it is
   * not, and only who raised the segment's number can have written since. Where it is, a commit that is stored and not
   * acknowledged yet is waited for: a node that reads storage may have shown it, and the tail must not go back.
   */
  checkTail(): Promise<void> {
    return this.tailChecks.ask();
  }

  isSettled(timestamp: number): boolean {
    // A commit with a timestamp from before may be under way.
    return !this.committer.busy && this.engine.clock.now() >= timestamp;
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
      this.view?.forgetBefore(metadata.startOffset);
      this.announce();
    });
    this.changing = changed.catch(() => undefined);
    return changed;
  }

  /**
   * Reads the metadata again: a leader that was deposed and did not know it may have changed it since it was read here, as
   * metadata has no fence. Throws as `changeMetadata`.
   */
  refresh(): Promise<void> {
    return this.changeMetadata((metadata) => metadata);
  }

  async describe() {
    await this.checkTail();
    return this.againIfTrimmed(() => describeLog(this.engine, this.log, this.current, this));
  }

  async readAccess(from: bigint, to: bigint) {
    await this.checkTail();
    const read = () => describeSegments(this.engine, this.log, this.startOffset, from, to);
    return { incarnation: this.incarnation, segments: await this.againIfTrimmed(read) };
  }

  /** Where the stream ends, for nodes that follow it. */
  get streamEnd(): StreamEnd | undefined {
    const { name, incarnation, startOffset, view, ending } = this;
    // An end of another kind is the node's, not the stream's.
    const deleted = ending?.kind === "notFound";
    if (view === undefined || (ending !== undefined && !deleted)) return undefined;
    const { nextOffset, lastTimestamp, openSegment } = view;
    return {
      stream: name,
      incarnation,
      startOffset,
      nextOffset,
      timestamp: nextOffset === 0n ? undefined : lastTimestamp,
      segmentFirstOffset: openSegment.firstOffset,
      position: openSegment.endPosition,
      deleted,
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

  /** Whether somebody reads it or wants something of it, or publishes are under way: then it stays open. */
  get inUse(): boolean {
    return this.users > 0 || this.committer.busy;
  }

  /** Keeps the stream open until `release` is called. */
  acquire(): this {
    this.users++;
    return this;
  }

  /** Gives up one `acquire`. */
  release(): void {
    this.users--;
  }

  /** Whether the stream's use on this node has ended. */
  get ended(): boolean {
    return this.ending !== undefined;
  }

  /**
   * Ends the stream's use on this node: `reason` is what writers get from now on, and readers too, unless they shall take
   * another view because this node's role has `moved`.
   */
  end(reason: VaultError, moved = false): void {
    this.ending = reason;
    this.hasMoved = moved;
    this.tail.clear();
    this.announce();
  }

  /** Opens the log again if it was opened under a fence that does not hold any more: this node leads anew. */
  async renew(): Promise<void> {
    if (this.view === undefined || isHeld(this.view)) return;
    await this.committer.exclusively(() => this.openLog());
  }

  /** Waits for what is pending and writes a checkpoint. */
  async close(): Promise<void> {
    await this.committer.exclusively(async () => {
      if (this.writable && this.view !== undefined && isHeld(this.view)) await this.view.close();
    });
    const reason = new VaultError("unavailable", `stream ${this.name} is closed here; try again`, { retryAfterMs });
    // Who came to read it meanwhile opens it again.
    this.end(reason, true);
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
    log.forgetBefore(this.startOffset);
    this.view = log;
    this.writable = true;
    this.announce();
    return log;
  }

  /** Runs `read`, and once more where it met a segment that is gone because the start has moved without our knowing. */
  private async againIfTrimmed<T>(read: () => Promise<T>): Promise<T> {
    const { startOffset } = this;
    try {
      return await read();
    } catch (error) {
      if (!isKind(error, "notFound", "outOfRange") || this.ending !== undefined) throw error;
      if (this.startOffset === startOffset) await this.refresh();
      if (this.startOffset === startOffset) throw error;
      return read();
    }
  }

  private announce(): void {
    this.changed.notify();
    this.feed.tell(this);
  }

  private async askTail(): Promise<void> {
    const { log } = this;
    const { blob } = log.openSegment;
    const properties = await this.engine.store.properties(blob);
    if (this.ending !== undefined) throw this.ending;
    const isOurs = properties?.sequenceNumber === log.fence.epoch;
    if (isOurs && properties.etag === this.view?.writer.version) return;
    // Another segment is written to by now, under our own number: the one that was asked for may be gone.
    if (properties === undefined && this.view !== undefined && this.view.openSegment.blob !== blob) return;
    await this.committer.exclusively(async () => {
      // Under our own number a commit is stored that is not acknowledged yet: other nodes may have shown it already.
      if (!isOurs) this.dropLog();
      await this.openLog();
    });
  }
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
