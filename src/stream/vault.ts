/**
 * The vault: what it can do with its streams, whichever role this node has. Where it does not lead, streams are read all
 * the same, and what would change them throws `unavailable`.
 */
import { sleep } from "../clock.ts";
import { isKind, VaultError } from "../errors.ts";
import { CommitFeed } from "./commit-feed.ts";
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
import { FollowedStreams } from "./followed-streams.ts";
import { wrongIncarnation } from "./judge.ts";
import { readMetadata, streamNotFound } from "./metadata.ts";
import { OpenStreams } from "./open-streams.ts";
import { PendingBudget, type Room } from "./pending-budget.ts";
import type { Stream } from "./stream.ts";
import type { StreamEndSink, StreamEndSource } from "./stream-end.ts";
import { StreamViews } from "./stream-views.ts";
import { subscribe } from "./subscription.ts";
import { createSubscriptionMeters, type Standing, type SubscriptionMeters } from "./subscription-meters.ts";
import { removeTrimmed, trimOffset, withStart } from "./trim.ts";
import { createVaultMeters, type VaultMeters } from "./vault-meters.ts";

const retryAfterMs = 100;

const sealAttemptsMax = 3;

/** Opens the vault over an engine. Nothing is read until a stream is asked for. */
export class Vault implements VaultApi {
  /** Where the nodes that watch this one hear of its commits, while it leads. */
  readonly feed: StreamEndSource;
  /** What this node hears of the leader's commits, while it follows one. */
  readonly followed: StreamEndSink;
  private readonly engine: Engine;
  private readonly pending: PendingBudget;
  private readonly streams: OpenStreams;
  private readonly views: StreamViews;
  private readonly meters: VaultMeters;
  private readonly subscriptions: SubscriptionMeters;
  private handingOver = false;

  constructor(engine: Engine) {
    const feed = new CommitFeed(engine.clock);
    const followed = new FollowedStreams(engine);
    this.engine = engine;
    this.pending = new PendingBudget(engine.settings.pendingBytesMax);
    this.streams = new OpenStreams(engine, this.pending, feed, followed);
    this.views = new StreamViews(engine, this.streams, followed);
    this.meters = createVaultMeters(engine, this.pending, () => this.streams.size);
    this.subscriptions = createSubscriptionMeters(engine);
    this.feed = feed;
    this.followed = followed;
  }

  async publish(command: PublishCommand, room?: Room): Promise<PublishResult> {
    const told = this.meters.begin(command);
    try {
      const accept = () => this.accept(command, room);
      const result = await (told === undefined ? accept() : this.engine.telemetry.within(told, accept));
      told?.end();
      return result;
    } catch (error) {
      this.meters.fail(told, error);
      throw error;
    }
  }

  private async accept(command: PublishCommand, room: Room | undefined): Promise<PublishResult> {
    this.assertAccepting();
    if (room === undefined && this.pending.exhausted) {
      const message = `too much is pending in this vault: more than ${this.pending.bytesMax} bytes; slow down`;
      throw new VaultError("overloaded", message, { retryAfterMs });
    }
    // While the stream is opened the batch waits here, and counts: in its room where it has some.
    const { storedBytes } = command.batch;
    if (room === undefined) this.pending.take(storedBytes);
    let stream: Stream;
    try {
      stream = await this.streams.acquire(command.stream, this.engine.settings.autoCreateStreams);
    } finally {
      if (room === undefined) this.pending.giveBack(storedBytes);
    }
    try {
      this.assertAccepting();
      return await stream.publish(command, room);
    } finally {
      stream.release();
    }
  }

  async publishRoom(name: string, bytes: number, signal: AbortSignal): Promise<Room> {
    const stream = await this.streams.get(name);
    return (stream?.pending ?? this.pending).waitForRoom(bytes, signal);
  }

  subscribe(command: SubscribeCommand, signal: AbortSignal): AsyncGenerator<Delivery> {
    const { clock, settings } = this.engine;
    return subscribe({
      source: this.views.sourceOf(command.stream),
      command,
      clock,
      responseBytes: settings.responseBytes,
      signal,
      begin: () => this.beginSubscription(command.stream),
      end: (standing) => this.subscriptions.end(standing),
    });
  }

  async createStream(name: string, settings: SettingsChange): Promise<StreamInfo> {
    this.assertAccepting();
    this.engine.leadership.fence();
    const existing = await readMetadata(this.engine.store, name);
    if (existing !== undefined) throw alreadyExists(name);
    try {
      await this.streams.create(name, settings);
    } catch (error) {
      if (isKind(error, "alreadyExists")) throw alreadyExists(name);
      throw error;
    }
    const describe = () => this.use(name, (stream) => stream.describe());
    // What this node has open under that name may be what was deleted before: by that it finds out, and is gone.
    return describe().catch((error: unknown) => {
      if (!isKind(error, "notFound")) throw error;
      return describe();
    });
  }

  async getStream(name: string): Promise<StreamInfo> {
    return this.views.withView(name, (view) => view.describe());
  }

  async listStreams(prefix: string, limit: number, from?: string) {
    const folder = "streams/";
    const page = await this.engine.store.listFolders(folder + prefix, limit, from);
    return { names: page.items.map((item) => item.slice(folder.length)), next: page.next };
  }

  async updateStream(name: string, change: SettingsChange): Promise<StreamInfo> {
    this.assertAccepting();
    return this.use(name, async (stream) => {
      await stream.changeMetadata((metadata) => ({ ...metadata, settings: { ...metadata.settings, ...change } }));
      return stream.describe();
    });
  }

  async deleteStream(name: string, incarnation: string | undefined): Promise<void> {
    this.assertAccepting();
    await this.use(name, async (stream) => {
      checkIncarnation(stream, incarnation);
      await stream.committer.exclusively(async () => {
        await sealForEver(stream);
        stream.end(streamNotFound(name));
        this.streams.remove(name);
        await finishDeletion(this.engine, name, stream.incarnation).catch(notYetDeleted);
      });
    });
  }

  async trimStream(name: string, before: TrimPoint): Promise<bigint> {
    this.assertAccepting();
    return this.use(name, async (stream) => {
      await this.moveStart(stream, await trimOffset(stream, before));
      return stream.startOffset;
    });
  }

  /** Moves a stream's start to `offset`, if it is not there yet, and frees the segments before it. */
  async moveStart(stream: Stream, offset: bigint): Promise<void> {
    await stream.changeMetadata((metadata) => withStart(metadata, offset));
    await removeTrimmed(this.engine, stream);
  }

  async readAccess(name: string, from: bigint, to: bigint): Promise<{ incarnation: string; segments: SegmentInfo[] }> {
    return this.views.withView(name, (view) => view.readAccess(from, to));
  }

  /** The stream, if it is open to write on this node. */
  opened(name: string): Promise<Stream | undefined> {
    return this.streams.get(name);
  }

  /** Does something with a stream that is there, open to write. Throws `notFound`, and `unavailable` on a standby. */
  use<T>(name: string, use: (stream: Stream) => Promise<T>): Promise<T> {
    return this.streams.use(name, false, use);
  }

  /**
   * This node leads from now on, or leads anew: under another epoch, or because it could not hand over. What it follows
   * it takes over.
   */
  lead(): void {
    this.handingOver = false;
    this.views.lead();
  }

  /**
   * Lets go of every stream, because this node does not lead any more: another may change them from now on. What was
   * sent to storage has an unknown outcome; subscriptions go on with what they find there.
   */
  abandon(): void {
    this.handingOver = false;
    this.streams.abandon();
  }

  /**
   * Accepts no changes from now on, until `lead` or `abandon`, and resolves when all that was accepted is answered, or
   * after `limitMs`.
   */
  async handOver(limitMs: number): Promise<void> {
    this.handingOver = true;
    const drained = new AbortController();
    const limit = sleep(this.engine.clock, limitMs, drained.signal);
    await Promise.race([this.streams.drain(), limit]).finally(() => drained.abort());
  }

  /** Answers what is pending and closes every stream. */
  async close(): Promise<void> {
    this.meters.close();
    this.subscriptions.close();
    this.views.close();
    await this.streams.close();
  }

  private beginSubscription(stream: string): Standing {
    const { subscriptionsMax } = this.engine.settings;
    if (this.subscriptions.open >= subscriptionsMax) {
      const message = `this vault has ${subscriptionsMax} subscriptions, which is its limit`;
      throw new VaultError("overloaded", message, { retryAfterMs: 10 * retryAfterMs });
    }
    return this.subscriptions.begin(stream);
  }

  private assertAccepting(): void {
    if (!this.handingOver) return;
    const message = "leadership is being handed over to another node; try again";
    throw new VaultError("unavailable", message, { retryAfterMs });
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
