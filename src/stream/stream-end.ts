/** Where streams end now: what a leader tells the nodes that watch it, so that they need not ask storage. */

/** The end of one stream. Everything before it is acknowledged, and so on storage. */
export interface StreamEnd {
  readonly stream: string;
  readonly incarnation: string;
  /** The first offset that may be read. */
  readonly startOffset: bigint;
  /** The offset behind the last acknowledged record. */
  readonly nextOffset: bigint;
  /** The timestamp of the last acknowledged record, in milliseconds since 1970; undefined while there is none. */
  readonly timestamp: number | undefined;
  /** The first offset of the segment that is written to. */
  readonly segmentFirstOffset: bigint;
  /** The position behind the last acknowledged frame in that segment, in bytes. */
  readonly position: number;
  /** Whether the stream was deleted. */
  readonly deleted: boolean;
}

/** Where a leader's watchers hear of commits, rolls, trims, changes of metadata and deletions. */
export interface StreamEndSource {
  /**
   * The streams that were written to or changed since the last turn, of each the newest end only. Ends when `signal` is
   * aborted. Who is slow misses what lay between, but never the newest, and costs no more than one end per stream.
   */
  follow(signal: AbortSignal): AsyncIterable<readonly StreamEnd[]>;
}

/** What a node that does not lead does with what it hears. Nothing here throws. */
export interface StreamEndSink {
  /** The leader that is followed says that these streams end so. What is older than what is known is passed over. */
  learn(ends: readonly StreamEnd[]): void;
  /** A leader tells of its commits from now on; what it did before has to be looked for once. */
  feedStarted(): void;
  /** Nobody tells of commits any more. */
  feedLost(): void;
}
