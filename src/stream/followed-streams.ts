/**
 * The streams that this node follows: opened while somebody reads them, closed after.
 *
 * Invariants: a stream is opened once at a time; an entry is in `entries` exactly while it has readers; what the leader
 * told of a stream while it was opened is told to it when it is.
 */
import { VaultError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { type FollowedStream, openFollowedStream } from "./followed-stream.ts";
import { Gate } from "./gate.ts";
import type { StreamEnd, StreamEndSink } from "./stream-end.ts";

/** How many followed streams are read at once because the leader told of them, or nobody did. */
const readsMax = 16;

const openAttemptsMax = 4;

interface Entry {
  readonly name: string;
  readonly opening: Promise<FollowedStream>;
  readers: number;
  /** Undefined until it is open. */
  stream: FollowedStream | undefined;
  /** The last end that the leader told of while it was opened. */
  told: StreamEnd | undefined;
}

/** The followed streams of a node. */
export class FollowedStreams implements StreamEndSink {
  private readonly engine: Engine;
  private readonly gate = new Gate(readsMax);
  private readonly entries = new Map<string, Entry>();
  private fed = false;
  /** Counts the changes of `fed`. */
  private feeds = 0;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** The names of the streams that are followed. */
  get names(): string[] {
    return [...this.entries.keys()];
  }

  /** Whether this stream is followed. */
  has(name: string): boolean {
    return this.entries.has(name);
  }

  /** A stream to read, until it is given back. Throws `notFound`, and what keeps it from being opened. */
  async take(name: string): Promise<FollowedStream> {
    for (let attempt = 1; attempt <= openAttemptsMax; attempt++) {
      const entry = this.entries.get(name) ?? this.open(name);
      entry.readers++;
      let stream: FollowedStream;
      try {
        stream = await entry.opening;
      } catch (error) {
        this.leave(entry);
        throw error;
      }
      if (!stream.ended) return stream;
      this.leave(entry);
      this.forget(entry);
      if (stream.moved) break;
    }
    throw new VaultError("unavailable", `stream ${name} changes while it is opened; try again`, { resource: name });
  }

  /** Gives a stream back; the last reader closes it. */
  giveBack(stream: FollowedStream): void {
    const entry = this.entries.get(stream.name);
    if (entry?.stream === stream) this.leave(entry);
  }

  learn(ends: readonly StreamEnd[]): void {
    for (const end of ends) {
      const entry = this.entries.get(end.stream);
      if (entry === undefined) continue;
      if (entry.stream === undefined) entry.told = end;
      else entry.stream.learn(end);
    }
  }

  feedStarted(): void {
    this.setFed(true);
  }

  feedLost(): void {
    this.setFed(false);
  }

  /** Ends a followed stream: its readers shall take the view that this node has of it as its leader. */
  supersede(name: string): void {
    const entry = this.entries.get(name);
    entry?.stream?.end(superseded(name), true);
    if (entry !== undefined) this.forget(entry);
  }

  /** Ends a followed stream, if it is open: `reason` is what its readers get. */
  end(name: string, reason: VaultError): void {
    this.entries.get(name)?.stream?.end(reason);
  }

  /** Ends all of them. */
  close(reason: VaultError): void {
    for (const entry of this.entries.values()) {
      entry.opening.then(
        (stream) => stream.end(reason),
        () => undefined,
      );
      this.forget(entry);
    }
  }

  private setFed(fed: boolean): void {
    this.fed = fed;
    this.feeds++;
    for (const { stream } of this.entries.values()) stream?.setFed(fed);
  }

  private open(name: string): Entry {
    const { feeds } = this;
    const opening = openFollowedStream(this.engine, name, this.gate);
    const entry: Entry = { name, opening, readers: 0, stream: undefined, told: undefined };
    this.entries.set(name, entry);
    opening.then(
      (stream) => {
        entry.stream = stream;
        if (this.entries.get(name) !== entry) return stream.end(superseded(name), true);
        stream.setFed(this.fed, feeds === this.feeds);
        if (entry.told !== undefined) stream.learn(entry.told);
      },
      () => this.forget(entry),
    );
    return entry;
  }

  private leave(entry: Entry): void {
    entry.readers--;
    if (entry.readers > 0) return;
    this.forget(entry);
    entry.stream?.end(new VaultError("unavailable", `stream ${entry.name} is not followed any more`));
  }

  private forget(entry: Entry): void {
    if (this.entries.get(entry.name) === entry) this.entries.delete(entry.name);
  }
}

function superseded(name: string): VaultError {
  return new VaultError("unavailable", `stream ${name} is read in another way now`, { resource: name });
}
