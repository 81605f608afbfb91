/**
 * The streams as this node has them in either role: open to write where it leads, else followed.
 *
 * Invariants: readers get their views from here alone; a followed stream goes on until the one to write is open, so that
 * no reader is without a view for long when this node begins to lead; streams that are opened for readers' sake stand in
 * line, those for publishers do not.
 */
import { sleep } from "../clock.ts";
import { isKind } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { FollowedStream } from "./followed-stream.ts";
import type { FollowedStreams } from "./followed-streams.ts";
import { Gate } from "./gate.ts";
import { type OpenStreams, shuttingDown } from "./open-streams.ts";
import { Stream } from "./stream.ts";
import { type StreamView, transientKinds, type ViewSource } from "./stream-view.ts";

/** How many streams are opened to write at once for readers' sake. */
const openingsMax = 8;

/** A role may change while a view is taken: then it is taken again, at most so often. */
const takeAttemptsMax = 4;

/** What cannot be opened for now is tried again after this long, doubled each time, with jitter. */
const retryMsFirst = 50;
const retryMsMax = 2000;

/** The streams of a node, to read and to write. */
export class StreamViews {
  private readonly engine: Engine;
  private readonly streams: OpenStreams;
  private readonly followed: FollowedStreams;
  private readonly gate = new Gate(openingsMax);
  /** The streams that are, or will be, opened for readers' sake. */
  private readonly openings = new Map<string, Promise<void>>();
  /** The followed streams that are about to be superseded. */
  private readonly superseding = new Set<string>();

  constructor(engine: Engine, streams: OpenStreams, followed: FollowedStreams) {
    this.engine = engine;
    this.streams = streams;
    this.followed = followed;
  }

  /** Where a subscription to a stream gets its views from. */
  sourceOf(name: string): ViewSource {
    return {
      take: () => this.take(name),
      retake: (signal) => this.retake(name, signal),
      giveBack: (view) => this.giveBack(view),
    };
  }

  /** Does something with a view of a stream; again where the view moved meanwhile. */
  async withView<T>(name: string, use: (view: StreamView) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const view = await this.take(name);
      try {
        return await use(view);
      } catch (error) {
        if (!view.moved || attempt === takeAttemptsMax) throw error;
      } finally {
        this.giveBack(view);
      }
    }
  }

  /** This node leads from now on: what it follows it opens to write, a few streams at a time. */
  lead(): void {
    this.streams.renew();
    for (const name of this.followed.names) void this.supersede(name);
  }

  /** Ends what is followed: the vault is being closed. */
  close(): void {
    this.followed.close(shuttingDown());
  }

  private async take(name: string): Promise<StreamView> {
    for (let attempt = 1; ; attempt++) {
      const { leads } = this.engine.leadership;
      try {
        return leads ? await this.takeOpen(name) : await this.takeFollowed(name);
      } catch (error) {
        const roleChanged = leads !== this.engine.leadership.leads;
        if (!roleChanged || attempt === takeAttemptsMax || !isKind(error, ...transientKinds)) throw error;
      }
    }
  }

  private async retake(name: string, signal: AbortSignal): Promise<StreamView> {
    const { clock, log } = this.engine;
    for (let delayMs = retryMsFirst; ; delayMs = Math.min(delayMs * 2, retryMsMax)) {
      try {
        return await this.take(name);
      } catch (error) {
        if (this.streams.closed || !isKind(error, ...transientKinds)) throw error;
        log.debug("no view of the stream yet", { stream: name, error });
      }
      await sleep(clock, delayMs * (0.5 + clock.random()), signal);
      signal.throwIfAborted();
    }
  }

  private giveBack(view: StreamView): void {
    if (view instanceof Stream) view.release();
    else if (view instanceof FollowedStream) this.followed.giveBack(view);
  }

  private async takeOpen(name: string): Promise<Stream> {
    if (!this.streams.has(name)) await this.openInLine(name);
    return this.streams.acquire(name, false);
  }

  private async takeFollowed(name: string): Promise<FollowedStream> {
    if (this.streams.closed) throw shuttingDown();
    return this.followed.take(name);
  }

  private openInLine(name: string): Promise<void> {
    const known = this.openings.get(name);
    if (known !== undefined) return known;
    const opening = this.gate
      .run(() => this.streams.use(name, false, async () => undefined))
      .finally(() => {
        this.openings.delete(name);
      });
    this.openings.set(name, opening);
    return opening;
  }

  private async supersede(name: string): Promise<void> {
    if (this.superseding.has(name)) return;
    this.superseding.add(name);
    const { clock, leadership, log } = this.engine;
    try {
      for (let delayMs = retryMsFirst; ; delayMs = Math.min(delayMs * 2, retryMsMax)) {
        if (!leadership.leads || this.streams.closed || !this.followed.has(name)) return;
        try {
          await this.openInLine(name);
          return this.followed.supersede(name);
        } catch (error) {
          if (isKind(error, "notFound")) return this.followed.end(name, error);
          log.warn("stream is followed on", { stream: name, error });
        }
        await sleep(clock, delayMs * (0.5 + clock.random()));
      }
    } finally {
      this.superseding.delete(name);
    }
  }
}
