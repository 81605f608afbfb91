/**
 * The publishes of a stream that no commit under way carries, in the order of the calls.
 *
 * Invariant: `bytes` is what they take together in a commit at the most.
 */
import { headerBytes, producerEntryBytes } from "../segment/format.ts";
import type { TraceContext } from "../trace-context.ts";
import type { PublishCommand, PublishResult } from "./commands.ts";

/** A publish that is not answered yet. */
export interface Pending {
  /** Counts the stream's publishes, in the order of the calls. */
  readonly number: number;
  readonly command: PublishCommand;
  /** What it takes in a commit at the most: it may be in a frame of its own. */
  readonly contentBytes: number;
  /** The span of the publish, where it is recorded. */
  readonly trace: TraceContext | undefined;
  /** Set when a write with it failed: until when it is tried again, by the monotonic clock. */
  giveUpAt: number | undefined;
  readonly resolve: (result: PublishResult) => void;
  readonly reject: (error: unknown) => void;
}

/** The queue of one stream. */
export class PublishQueue {
  private pendings: Pending[] = [];
  private bytes = 0;

  get length(): number {
    return this.pendings.length;
  }

  /** The publish that waits for longest. */
  get first(): Pending | undefined {
    return this.pendings[0];
  }

  /** What all of them take in a commit at the most. */
  get contentBytes(): number {
    return this.bytes;
  }

  push(pending: Pending): void {
    this.pendings.push(pending);
    this.bytes += pending.contentBytes;
  }

  /** Puts publishes in front of all others, in their order. */
  putBack(pendings: readonly Pending[]): void {
    this.pendings.unshift(...pendings);
    this.bytes += contentBytesOf(pendings);
  }

  /** Takes the first `count` out of the queue. */
  take(count = this.pendings.length): Pending[] {
    const taken = this.pendings.splice(0, count);
    this.bytes -= contentBytesOf(taken);
    return taken;
  }

  /** Takes what `head` tells out of the queue. */
  takeHead(bytesMax: number): Pending[] {
    return this.take(this.head(bytesMax).length);
  }

  /** The publishes of the next commit: at least one if there is one, and as many as fit in `bytesMax`. */
  head(bytesMax: number): Pending[] {
    let count = 0;
    let bytes = 0;
    for (const pending of this.pendings) {
      bytes += pending.contentBytes;
      if (count > 0 && bytes > bytesMax) break;
      count++;
    }
    return this.pendings.slice(0, count);
  }
}

/** What a publish takes in a commit at the most. */
export function measureContent({ batch, producer }: PublishCommand): number {
  const producerBytes = producer === undefined ? 0 : producerEntryBytes(producer.id);
  return headerBytes + batch.storedBytes + producerBytes;
}

/** What these publishes take in a commit at the most. */
export function contentBytesOf(pendings: readonly Pending[]): number {
  let bytes = 0;
  for (const pending of pendings) bytes += pending.contentBytes;
  return bytes;
}
