/**
 * The vault: streams by name, opened when they are first needed.
 *
 * Invariants: a stream is opened once at a time; `streams` is in the order of last use; streams that are read or
 * written stay open, of the others at most `openStreamsMax` do.
 */
import { isKind, VaultError } from "../errors.ts";
import type {
  Delivery,
  PublishCommand,
  PublishResult,
  SegmentInfo,
  SettingsChange,
  StreamInfo,
  SubscribeCommand,
  TrimPoint,
  VaultApi,
} from "./commands.ts";
import { finishDeletion } from "./delete-stream.ts";
import type { Engine } from "./engine.ts";
import { wrongIncarnation } from "./judge.ts";
import { sealedSegment } from "./log-reader.ts";
import { createMetadata, readMetadata, streamNotFound } from "./metadata.ts";
import { PendingBudget } from "./pending-budget.ts";
import { Stream } from "./stream.ts";
import { subscribe } from "./subscription.ts";
import { removeTrimmed, trimOffset, withStart } from "./trim.ts";

const retryAfterMs = 100;

/** Others may delete, make or close a stream while it is opened: then it is looked for again, at most so often. */
const openAttemptsMax = 16;
const sealAttemptsMax = 3;

/** Opens the vault over an engine. Nothing is read until a stream is asked for. */
export class Vault implements VaultApi {
  private readonly engine: Engine;
  private readonly pending: PendingBudget;
  private readonly streams = new Map<string, Promise<Stream>>();
  private subscriptions = 0;
  private closed = false;

  constructor(engine: Engine) {
    this.engine = engine;
    this.pending = new PendingBudget(engine.clock, engine.settings.pendingBytesMax);
  }

  async publish(command: PublishCommand): Promise<PublishResult> {
    if (this.pending.exhausted) {
      const message = `too much is pending in this vault: more than ${this.pending.bytesMax} bytes; slow down`;
      throw new VaultError("overloaded", message, { retryAfterMs });
    }
    // While the stream is opened the batch waits here, and counts.
    const { storedBytes } = command.batch;
    this.pending.take(storedBytes);
    let stream: Stream;
    try {
      stream = await this.open(command.stream, this.engine.settings.autoCreateStreams);
    } finally {
      this.pending.giveBack(storedBytes);
    }
    return stream.publish(command);
  }

  async publishRoom(name: string, signal: AbortSignal): Promise<void> {
    const stream = await this.streams.get(name)?.catch(() => undefined);
    await (stream?.pending ?? this.pending).waitForRoom(signal);
  }

  async *subscribe(command: SubscribeCommand, signal: AbortSignal): AsyncGenerator<Delivery> {
    const { clock, settings } = this.engine;
    if (this.subscriptions >= settings.subscriptionsMax) {
      const message = `this vault has ${settings.subscriptionsMax} subscriptions, which is its limit`;
      throw new VaultError("overloaded", message, { retryAfterMs: 10 * retryAfterMs });
    }
    this.subscriptions++;
    let stream: Stream | undefined;
    try {
      stream = await this.open(command.stream, false);
      stream.readers++;
      checkIncarnation(stream, command.incarnation);
      yield* subscribe(stream, command, clock, settings.responseBytes, signal);
    } finally {
      this.subscriptions--;
      if (stream !== undefined) stream.readers--;
    }
  }

  async createStream(name: string, settings: SettingsChange): Promise<StreamInfo> {
    this.engine.leadership.fence();
    const existing = await readMetadata(this.engine.store, name);
    if (existing !== undefined) throw alreadyExists(name);
    try {
      await this.create(name, settings);
    } catch (error) {
      if (isKind(error, "alreadyExists")) throw alreadyExists(name);
      throw error;
    }
    return (await this.open(name, false)).describe();
  }

  async getStream(name: string): Promise<StreamInfo> {
    const stream = await this.open(name, false);
    return stream.describe();
  }

  async listStreams(prefix: string, limit: number, from?: string) {
    const folder = "streams/";
    const page = await this.engine.store.listFolders(folder + prefix, limit, from);
    return { names: page.items.map((item) => item.slice(folder.length)), next: page.next };
  }

  async updateStream(name: string, change: SettingsChange): Promise<StreamInfo> {
    const stream = await this.open(name, false);
    await stream.changeMetadata((metadata) => ({ ...metadata, settings: { ...metadata.settings, ...change } }));
    return stream.describe();
  }

  async deleteStream(name: string, incarnation: string | undefined): Promise<void> {
    const stream = await this.open(name, false);
    checkIncarnation(stream, incarnation);
    await stream.committer.exclusively(async () => {
      await sealForEver(stream);
      stream.end(streamNotFound(name));
      this.streams.delete(name);
      await finishDeletion(this.engine, name, stream.incarnation).catch(notYetDeleted);
    });
  }

  async trimStream(name: string, before: TrimPoint): Promise<bigint> {
    const stream = await this.open(name, false);
    const offset = await trimOffset(stream, before);
    await this.moveStart(stream, offset);
    return stream.startOffset;
  }

  /** Moves a stream's start to `offset`, if it is not there yet, and frees the segments before it. */
  async moveStart(stream: Stream, offset: bigint): Promise<void> {
    await stream.changeMetadata((metadata) => withStart(metadata, offset));
    await removeTrimmed(this.engine, stream);
  }

  async readAccess(name: string, from: bigint, to: bigint): Promise<{ incarnation: string; segments: SegmentInfo[] }> {
    const stream = await this.open(name, false);
    const { log, incarnation } = stream;
    const end = to === 0n ? log.nextOffset : to;
    const sealed = await Promise.all(
      log.sealed.map(async (segment) => {
        const { blob, firstOffset, nextOffset, endPosition } = await sealedSegment(this.engine, log, segment);
        return { blob, firstOffset, nextOffset, endPosition, sealed: true };
      }),
    );
    const { identity, position } = log.writer;
    const open = {
      firstOffset: identity.firstOffset,
      nextOffset: log.nextOffset,
      endPosition: position,
      sealed: false,
    };
    const segments = [...sealed, { blob: identity.blob, ...open }];
    return { incarnation, segments: segments.filter((s) => s.nextOffset > from && s.firstOffset < end) };
  }

  /** The stream, if it is open on this node. */
  async opened(name: string): Promise<Stream | undefined> {
    return this.streams.get(name)?.catch(() => undefined);
  }

  /** Opens a stream, or makes it first if `create`. Throws `notFound`. What is done with it at once keeps it open. */
  async open(name: string, create: boolean): Promise<Stream> {
    for (let attempt = 1; attempt <= openAttemptsMax; attempt++) {
      if (this.closed) throw new VaultError("unavailable", "this vault is shutting down", { retryAfterMs });
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
      if (!stream.ended && this.streams.get(name) === opening) return stream;
      // It was deleted, or closed to make room, before its turn came.
      this.forget(name, opening);
    }
    const message = `stream ${name} comes and goes faster than it can be opened; try again`;
    throw new VaultError("unavailable", message, { resource: name, retryAfterMs });
  }

  private find(name: string, create: boolean): Promise<Stream> {
    const known = this.streams.get(name);
    const stream = known ?? this.load(name, create);
    // Behind all others: the order of last use.
    if (known !== undefined) this.streams.delete(name);
    this.streams.set(name, stream);
    if (known === undefined) {
      stream.then(
        () => this.evict(),
        () => this.forget(name, stream),
      );
    }
    return stream;
  }

  /**
   * Lets go of every stream, because this node does not lead any more: another may change them from now on. What was
   * sent to storage has an unknown outcome, subscriptions end.
   */
  abandon(): void {
    const reason = new VaultError("unavailable", "this node does not lead any more; try again", { retryAfterMs });
    for (const opening of this.streams.values()) opening.then((stream) => stream.end(reason)).catch(() => undefined);
    this.streams.clear();
  }

  /** Answers what is pending and closes every stream. */
  async close(): Promise<void> {
    this.closed = true;
    const open = await Promise.allSettled(this.streams.values());
    this.streams.clear();
    await Promise.all(open.filter((stream) => stream.status === "fulfilled").map((stream) => stream.value.close()));
  }

  private async load(name: string, create: boolean): Promise<Stream> {
    this.engine.leadership.fence();
    const known = await readMetadata(this.engine.store, name);
    if (known === undefined && !create) throw streamNotFound(name);
    try {
      const { metadata } = known ?? (await this.createOrRead(name));
      const stream = new Stream(this.engine, name, metadata, this.pending);
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
  private async createOrRead(name: string) {
    try {
      return await this.create(name, {});
    } catch (error) {
      const known = isKind(error, "alreadyExists") ? await readMetadata(this.engine.store, name) : undefined;
      if (known === undefined) throw error;
      return known;
    }
  }

  private create(name: string, settings: SettingsChange) {
    const { store, clock } = this.engine;
    const metadata = { incarnation: clock.id(), createdAt: clock.now(), startOffset: 0n, settings };
    return createMetadata(store, clock, name, metadata);
  }

  private forget(name: string, stream: Promise<Stream>): void {
    if (this.streams.get(name) === stream) this.streams.delete(name);
  }

  /** Closes the streams that were not used for longest, beyond the limit. */
  private async evict(): Promise<void> {
    for (const [name, opening] of this.streams.entries().toArray()) {
      if (this.streams.size <= this.engine.settings.openStreamsMax) return;
      const stream = await opening.catch(() => undefined);
      if (stream === undefined || stream.readers > 0 || stream.committer.busy) continue;
      this.forget(name, opening);
      await stream
        .close()
        .catch((error: unknown) => this.engine.log.warn("stream not closed", { stream: name, error }));
    }
  }
}

/**
 * Seals a stream's end. Where the outcome is not known the log is opened again: that finishes the deletion if the seal
 * is there, and says so by `notFound`.
 */
async function sealForEver(stream: Stream): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const log = await stream.openLog();
      await log.seal(true);
      return;
    } catch (error) {
      stream.dropLog();
      if (attempt > 1 && isKind(error, "notFound")) return;
      if (!isKind(error, "conflict", "indeterminate")) throw error;
      if (attempt === sealAttemptsMax) notYetDeleted(error);
    }
  }
}

/** A deletion whose seal may be there is finished by whoever opens the stream next, or by the sweep. */
function notYetDeleted(error: unknown): never {
  throw new VaultError("indeterminate", "the stream may be deleted already, or will be soon; ask again", {}, error);
}

function checkIncarnation(stream: Stream, asked: string | undefined): void {
  if (asked !== undefined && asked !== stream.incarnation) {
    throw wrongIncarnation(stream.name, asked, stream.incarnation);
  }
}

function alreadyExists(name: string): VaultError {
  return new VaultError("alreadyExists", `there is a stream ${name} already`, { resource: name });
}
