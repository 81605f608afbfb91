/**
 * A stream on a node that does not write it: read from storage, for all of the node's subscriptions at once.
 *
 * Invariants: one read of the tail is under way at a time; what readers see is on storage as whole valid frames; the
 * tail cache reaches up to `nextOffset` without a gap. While a leader tells of its commits storage is asked only for
 * what it tells of, else every `followPollMs`, and after a read that failed, too.
 */
import type { Timer } from "../clock.ts";
import { isKind, type VaultError } from "../errors.ts";
import type { Loan } from "../segment/byte-cache.ts";
import type { Frame } from "../segment/format.ts";
import { describeLog, describeSegments } from "./describe-log.ts";
import type { Engine } from "./engine.ts";
import { type FollowedLog, openFollowedLog } from "./followed-log.ts";
import type { Gate } from "./gate.ts";
import { findTimestamp, readFrames } from "./log-reader.ts";
import { readMetadata, type StreamMetadata, streamNotFound } from "./metadata.ts";
import { Notifier } from "./notifier.ts";
import { SharedRun } from "./shared-run.ts";
import type { StreamEnd } from "./stream-end.ts";
import { outOfRange, type StreamView } from "./stream-view.ts";
import { TailCache } from "./tail-cache.ts";

/**
 * How long after its timestamp was given a commit may still be on its way to storage, in milliseconds, as far as an end
 * by time waits for it; nodes' clocks may differ by about as much.
 */
const settleMs = 1000;

/** One stream, followed. */
export class FollowedStream implements StreamView {
  readonly name: string;
  private readonly engine: Engine;
  private readonly gate: Gate;
  private readonly tail: TailCache;
  private readonly changed: Notifier;
  private readonly reads: SharedRun;
  private metadata: StreamMetadata;
  private log: FollowedLog;
  /** The newest end that the leader told of. */
  private known: StreamEnd | undefined;
  /** Whether the next read goes to where storage ends. */
  private wholeWanted = false;
  /** When the last read began that went to where storage ends, by the wall clock. */
  private wholeReadAt = -Infinity;
  private fed = false;
  private failing = false;
  /** Whether a read that nobody waits for stands in line or goes on, and whether there shall be one more. */
  private looking = false;
  private lookAgain = false;
  private timer: Timer | undefined;
  private ending: VaultError | undefined;
  private hasMoved = false;

  /** `gate`: where reads that nobody waits for stand in line. Nothing is read before `setFed`. */
  constructor(engine: Engine, name: string, metadata: StreamMetadata, log: FollowedLog, gate: Gate) {
    this.engine = engine;
    this.name = name;
    this.metadata = metadata;
    this.log = log;
    this.gate = gate;
    this.tail = new TailCache(engine.tailBudget);
    this.changed = new Notifier(engine.clock, engine.settings.wokenAtOnce);
    this.reads = new SharedRun(() => this.read());
  }

  get incarnation(): string {
    return this.metadata.incarnation;
  }

  get startOffset(): bigint {
    return this.metadata.startOffset;
  }

  get nextOffset(): bigint {
    return this.log.nextOffset;
  }

  get lastTimestamp(): number | undefined {
    return this.log.nextOffset === 0n ? undefined : this.log.lastTimestamp;
  }

  /** Only who writes can say what will not be written. */
  get completeUntil(): number | undefined {
    return undefined;
  }

  get moved(): boolean {
    return this.hasMoved;
  }

  /** Whether this view has ended. */
  get ended(): boolean {
    return this.ending !== undefined;
  }

  assertOpen(): void {
    if (this.ending !== undefined) throw this.ending;
  }

  async framesFrom(offset: bigint, readAhead: boolean): Promise<Loan<readonly Frame[]>> {
    this.assertOpen();
    const cached = this.tail.framesFrom(offset);
    if (cached !== undefined) return cached;
    try {
      return await readFrames(this.engine, this.log, this.tail, offset, readAhead);
    } catch (error) {
      if (!isKind(error, "notFound", "outOfRange")) throw error;
      // The segment went while it was read: the stream was deleted, or trimmed.
      await this.checkTail();
      this.assertOpen();
      if (offset < this.startOffset) throw outOfRange(this, offset);
      throw error;
    }
  }

  async offsetAt(timestamp: number): Promise<bigint> {
    this.assertOpen();
    const offset = await findTimestamp(this.engine, this.log, this.tail, timestamp);
    return offset < this.startOffset ? this.startOffset : offset;
  }

  waitForChange(delayMs: number, signal: AbortSignal): Promise<void> {
    return this.ended ? Promise.resolve() : this.changed.wait(delayMs, signal);
  }

  /** Looks for itself: what is acknowledged is on storage, with or without a leader. */
  async checkTail(): Promise<void> {
    this.assertOpen();
    this.wholeWanted = true;
    await this.reads.ask();
    this.assertOpen();
  }

  isSettled(timestamp: number): boolean {
    if (this.wholeReadAt >= timestamp + settleMs) return true;
    if (this.engine.clock.now() >= timestamp + settleMs) this.look(true);
    return false;
  }

  async describe() {
    await this.checkTail();
    return describeLog(this.engine, this.log, this.metadata, this);
  }

  async readAccess(from: bigint, to: bigint) {
    await this.checkTail();
    const segments = await describeSegments(this.engine, this.log, this.startOffset, from, to);
    return { incarnation: this.incarnation, segments };
  }

  /** The leader says that the stream ends so. */
  learn(end: StreamEnd): void {
    if (this.ended) return;
    // Of which the older is only storage can tell.
    if (end.incarnation !== this.incarnation) return this.look(true);
    if (end.deleted) return this.end(streamNotFound(this.name));
    this.moveStart(end.startOffset);
    if (this.known === undefined || end.nextOffset > this.known.nextOffset) this.known = end;
    if (end.nextOffset > this.nextOffset) this.look(false);
  }

  /**
   * Says whether a leader tells of its commits from now on. What it did before is looked for once, unless the stream is
   * `current`.
   */
  setFed(fed: boolean, current = false): void {
    this.fed = fed;
    if (fed && !current) this.look(true);
    else this.schedule();
  }

  /** Ends this view: `reason` is what readers get, unless they shall take another one because it has `moved`. */
  end(reason: VaultError, moved = false): void {
    if (this.ended) return;
    this.ending = reason;
    this.hasMoved = moved;
    this.timer?.cancel();
    this.tail.clear();
    this.changed.notify();
  }

  /** Reads without anybody waiting for it: what fails is tried again. */
  private look(whole: boolean): void {
    if (this.ended) return;
    this.wholeWanted ||= whole;
    if (this.looking) {
      this.lookAgain = true;
      return;
    }
    this.looking = true;
    const looked = this.gate.run(() => this.reads.ask());
    const report = (error: unknown) => {
      if (!this.ended) this.engine.log.warn("stream not followed", { stream: this.name, error });
    };
    void looked.catch(report).then(() => {
      this.looking = false;
      if (!this.lookAgain) return;
      // At the end of the line: others have their turn first.
      this.lookAgain = false;
      this.look(false);
    });
  }

  private schedule(): void {
    this.timer?.cancel();
    if (this.ended || (this.fed && !this.failing)) return;
    const { clock, settings } = this.engine;
    this.timer = clock.timer(settings.followPollMs * (0.75 + clock.random() / 2), () => this.look(false));
  }

  private async read(): Promise<void> {
    if (this.ended) return;
    const whole = this.wholeWanted || !this.fed;
    const wanted = this.wholeWanted;
    this.wholeWanted = false;
    const startedAt = this.engine.clock.now();
    try {
      // Of a trim or a deletion the leader tells, too.
      if (whole) await this.readMetadata();
      await this.readOn(whole);
      if (whole) this.wholeReadAt = startedAt;
      this.failing = false;
    } catch (error) {
      this.failing = true;
      this.wholeWanted ||= wanted;
      throw error;
    } finally {
      this.schedule();
    }
  }

  private async readOn(whole: boolean): Promise<void> {
    const { log } = this;
    try {
      for await (const run of log.readOn(this.known, whole)) {
        if (this.ended) return;
        this.tail.append(run);
        this.changed.notify();
      }
    } catch (error) {
      if (!isKind(error, "notFound")) throw error;
      await this.readMetadata();
      // Not there yet, unless it was there before, or all up to here was trimmed.
      if (!this.ended && (log.begun || this.startOffset > log.nextOffset)) await this.reopen();
    }
    if (this.log.endOfStream) this.end(streamNotFound(this.name));
  }

  private async reopen(): Promise<void> {
    const log = await openFollowedLog(this.engine, this.name, this.metadata);
    await catchUp(log);
    if (this.ended) return;
    this.tail.clear();
    this.log = log;
    this.changed.notify();
  }

  private async readMetadata(): Promise<void> {
    const known = await readMetadata(this.engine.store, this.name);
    if (known?.metadata.incarnation !== this.incarnation) return this.end(streamNotFound(this.name));
    const { startOffset } = this.metadata;
    this.metadata = { ...known.metadata, startOffset };
    this.moveStart(known.metadata.startOffset);
  }

  private moveStart(offset: bigint): void {
    if (offset <= this.startOffset) return;
    this.metadata = { ...this.metadata, startOffset: offset };
    this.log.forgetBefore(offset);
    this.changed.notify();
  }
}

/** Opens a stream to follow it, as far as it is on storage now. Throws `notFound` where there is none. */
export async function openFollowedStream(engine: Engine, name: string, gate: Gate): Promise<FollowedStream> {
  for (let attempt = 1; ; attempt++) {
    const known = await readMetadata(engine.store, name);
    if (known === undefined) throw streamNotFound(name);
    const { metadata } = known;
    const log = await openFollowedLog(engine, name, metadata);
    const found = await catchUp(log);
    if (log.endOfStream) throw streamNotFound(name);
    // A stream that was made just now has no segment yet; else it was deleted, or trimmed, while it was opened.
    const isNew = !log.begun && log.sealed.length === 0;
    if (found || isNew || attempt === openAttemptsMax) return new FollowedStream(engine, name, metadata, log, gate);
  }
}

/** Others may trim, delete or make a stream while it is opened: then it is looked at again, at most so often. */
const openAttemptsMax = 4;

/** Reads a log to where storage ends. False where a segment is not there: not yet, or no more. */
async function catchUp(log: FollowedLog): Promise<boolean> {
  try {
    // What is old by now is not kept in memory.
    for await (const _ of log.readOn(undefined, true));
    return true;
  } catch (error) {
    if (isKind(error, "notFound")) return false;
    throw error;
  }
}
