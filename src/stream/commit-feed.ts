/**
 * The leader's news: which streams were written to or changed, and where they end now.
 *
 * Invariants: nothing is kept while nobody follows; of each stream a follower is owed at most one end, the newest, which
 * is looked up when the follower takes it.
 */
import type { Clock } from "../clock.ts";
import { Notifier } from "./notifier.ts";
import type { StreamEnd, StreamEndSource } from "./stream-end.ts";

/** A stream whose end can be asked for. */
export interface EndingStream {
  /** The stream's name. */
  readonly name: string;
  /** Where it ends now; undefined where that is not known. */
  readonly streamEnd: StreamEnd | undefined;
}

/** The most ends that a follower gets at once: as messages they are well under gRPC's limit of 4 MiB. */
export const endsAtOnceMax = 1000;

interface Follower {
  readonly owed: Map<string, EndingStream>;
  readonly news: Notifier;
}

/** Where streams tell of their changes and the leader's watchers hear of them. */
export class CommitFeed implements StreamEndSource {
  private readonly clock: Clock;
  private readonly followers = new Set<Follower>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** A stream was written to or changed. */
  tell(stream: EndingStream): void {
    if (this.followers.size === 0) return;
    for (const { owed, news } of this.followers) {
      owed.set(stream.name, stream);
      news.notify();
    }
  }

  async *follow(signal: AbortSignal): AsyncGenerator<readonly StreamEnd[]> {
    const follower: Follower = { owed: new Map(), news: new Notifier(this.clock) };
    this.followers.add(follower);
    try {
      while (!signal.aborted) {
        const ends = takeEnds(follower.owed);
        if (ends.length > 0) yield ends;
        else await follower.news.wait(undefined, signal);
      }
    } finally {
      this.followers.delete(follower);
    }
  }
}

function takeEnds(owed: Map<string, EndingStream>): StreamEnd[] {
  const ends: StreamEnd[] = [];
  for (const [name, stream] of owed) {
    if (ends.length === endsAtOnceMax) break;
    owed.delete(name);
    const { streamEnd } = stream;
    if (streamEnd !== undefined) ends.push(streamEnd);
  }
  return ends;
}
