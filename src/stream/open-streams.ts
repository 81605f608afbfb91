/**
 * The streams that this node has open to write, by name.
 *
 * Invariants: a stream is open once at a time, as two committers of one epoch would each take what the other has written
 * for their own: it is opened again only when its closing has ended, and is not closed while anybody uses it. `streams`
 * is in the order of last use; streams that are used or written stay open, of the others at most `openStreamsMax` do.
 */
import { isKind, VaultError } from "../errors.ts";
import type { SettingsChange } from "./commands.ts";
import type { CommitFeed } from "./commit-feed.ts";
import type { Engine } from "./engine.ts";
import type { FollowedStreams } from "./followed-streams.ts";
import { createMetadata, readMetadata, streamNotFound, type VersionedMetadata } from "./metadata.ts";
import type { PendingBudget } from "./pending-budget.ts";
import { Stream } from "./stream.ts";

const retryAfterMs = 100;

/** Others may delete, make or close a stream while it is opened: then it is looked for again, at most so often. */
const openAttemptsMax = 16;

/** The open streams of a node. */
export class OpenStreams {
  private readonly engine: Engine;
  private readonly pending: PendingBudget;
  private readonly feed: CommitFeed;
  private readonly followed: FollowedStreams;
  private readonly streams = new Map<string, Promise<Stream>>();
  /** The streams that are being closed to make room. */
  private readonly closings = new Map<string, Promise<void>>();
  private closing = false;

  /** `followed`: what this node follows, which an open stream supersedes. */
  constructor(engine: Engine, pending: PendingBudget, feed: CommitFeed, followed: FollowedStreams) {
    this.engine = engine;
    this.pending = pending;
    this.feed = feed;
    this.followed = followed;
  }

  /** Whether all streams are closed for good. */
  get closed(): boolean {
    return this.closing;
  }

  /** How many streams are open, or are being opened. */
  get size(): number {
    return this.streams.size;
  }

  /** Whether this stream is open, or is being opened. */
  has(name: string): boolean {
    return this.streams.has(name);
  }

  /** The stream, if it is open or is being opened. */
  async get(name: string): Promise<Stream | undefined> {
    return this.streams.get(name)?.catch(() => undefined);
  }

  /**
   * A stream to use, opened where it is not, or made first if `create`: it stays open until its `release` is called.
   * Throws `notFound`.
   */
  async acquire(name: string, create: boolean): Promise<Stream> {
    for (let attempt = 1; attempt <= openAttemptsMax; attempt++) {
      if (this.closing) throw shuttingDown();
      const joined = this.streams.has(name);
      const opening = this.find(name, create);
      let stream: Stream;
      try {
        stream = await opening;
      } catch (error) {
        // It began before the stream was made, or it was not to make it. By now it is forgotten.
        if (isKind(error, "notFound") && joined && (create || attempt === 1)) continue;
        throw error;
      }
      if (!stream.ended && this.streams.get(name) === opening) return stream.acquire();
      // It was deleted, or closed to make room, before its turn came.
      this.forget(name, opening);
    }
    const message = `stream ${name} comes and goes faster than it can be opened; try again`;
    throw new VaultError("unavailable", message, { resource: name, retryAfterMs });
  }

  /** Does something with a stream, which stays open meanwhile. See `acquire`. */
  async use<T>(name: string, create: boolean, use: (stream: Stream) => Promise<T>): Promise<T> {
    const stream = await this.acquire(name, create);
    try {
      return await use(stream);
    } finally {
      stream.release();
    }
  }

  /** Makes a stream's metadata. Throws `alreadyExists`. */
  create(name: string, settings: SettingsChange): Promise<VersionedMetadata> {
    const { store, clock } = this.engine;
    return createMetadata(store, clock, name, settings);
  }

  /** Forgets a stream that was deleted. */
  remove(name: string): void {
    this.streams.delete(name);
  }

  /**
   * Lets go of every stream, because this node does not lead any more: another may change them from now on. What was
   * sent to storage has an unknown outcome; readers take another view.
   */
  abandon(): void {
    const reason = new VaultError("unavailable", "this node does not lead any more; try again", { retryAfterMs });
    for (const opening of this.streams.values()) {
      opening.then((stream) => stream.end(reason, true)).catch(() => undefined);
    }
    this.streams.clear();
  }

  /** Opens the logs again that were opened under a fence which does not hold any more. */
  renew(): void {
    for (const [name, opening] of this.streams) {
      const renewed = opening.then((stream) => stream.renew());
      renewed.catch((error: unknown) => this.engine.log.warn("stream not renewed", { stream: name, error }));
    }
  }

  /** Resolves when all that was published to the streams that are open is answered. */
  async drain(): Promise<void> {
    const draining = [...this.streams.values()].map(async (opening) => {
      // One that is still being opened has nothing to answer.
      const stream = await Promise.race([opening, Promise.resolve()]).catch(() => undefined);
      if (stream?.committer.busy === true) await stream.committer.exclusively(async () => undefined);
    });
    await Promise.all(draining);
  }

  /** Answers what is pending and closes every stream. */
  async close(): Promise<void> {
    this.closing = true;
    const open = await Promise.allSettled(this.streams.values());
    this.streams.clear();
    await Promise.all(open.filter((stream) => stream.status === "fulfilled").map((stream) => stream.value.close()));
  }

  private find(name: string, create: boolean): Promise<Stream> {
    const known = this.streams.get(name);
    const stream = known ?? this.load(name, create);
    // Behind all others: the order of last use.
    if (known !== undefined) this.streams.delete(name);
    this.streams.set(name, stream);
    if (known === undefined) {
      stream.then(
        () => {
          this.followed.supersede(name);
          return this.evict();
        },
        () => this.forget(name, stream),
      );
    }
    return stream;
  }

  private async load(name: string, create: boolean): Promise<Stream> {
    await this.closings.get(name);
    this.engine.leadership.fence();
    const known = await readMetadata(this.engine.store, name);
    if (known === undefined && !create) throw streamNotFound(name);
    try {
      const { metadata } = known ?? (await this.createOrRead(name));
      const stream = new Stream(this.engine, name, metadata, this.pending, this.feed);
      await stream.openLog();
      return stream;
    } catch (error) {
      // Whatever became of what opening it changes, what the caller wanted was not begun.
      if (!isKind(error, "indeterminate", "conflict", "fenced", "alreadyExists")) throw error;
      const message = `stream ${name} could not be opened: ${error.message}`;
      throw new VaultError("unavailable", message, { resource: name, retryAfterMs }, error);
    }
  }

  /** Makes a stream, or takes the one that was made in the meantime. */
  private async createOrRead(name: string): Promise<VersionedMetadata> {
    try {
      return await this.create(name, {});
    } catch (error) {
      const known = isKind(error, "alreadyExists") ? await readMetadata(this.engine.store, name) : undefined;
      if (known === undefined) throw error;
      return known;
    }
  }

  private forget(name: string, stream: Promise<Stream>): void {
    if (this.streams.get(name) === stream) this.streams.delete(name);
  }

  /** Closes the streams that were not used for longest, beyond the limit. */
  private async evict(): Promise<void> {
    for (const [name, opening] of this.streams.entries().toArray()) {
      if (this.streams.size <= this.engine.settings.openStreamsMax) return;
      const stream = await opening.catch(() => undefined);
      if (stream === undefined || this.streams.get(name) !== opening || stream.inUse) continue;
      this.forget(name, opening);
      const closed = this.closeToMakeRoom(stream);
      this.closings.set(name, closed);
      await closed;
    }
  }

  private async closeToMakeRoom(stream: Stream): Promise<void> {
    try {
      await stream.close();
    } catch (error) {
      this.engine.log.warn("stream not closed", { stream: stream.name, error });
    } finally {
      this.closings.delete(stream.name);
    }
  }
}

/** The error for what comes when the vault is being closed. */
export function shuttingDown(): VaultError {
  return new VaultError("unavailable", "this vault is shutting down", { retryAfterMs });
}
