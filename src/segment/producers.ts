/**
 * The producers that a stream remembers, so that a batch that is sent again is not stored again.
 *
 * Invariants: producers stand in the order of their last batch, the oldest first; a producer's requests have
 * consecutive sequences, the oldest first. The table is a function of the frames alone: recovery builds the same one.
 */
import type { Frame } from "./format.ts";
import { readProducerEntries } from "./format.ts";

/** How much is remembered. */
export interface ProducerLimits {
  /** The most producers of a stream. */
  readonly producersMax: number;
  /** The most requests of a producer. */
  readonly producerRequestsMax: number;
  /** How long a producer is remembered after its last batch, in milliseconds. */
  readonly producerWindowMs: number;
}

/** For reading: what is read says nothing of producers that anybody asks for. */
export const noProducers: ProducerLimits = { producersMax: 0, producerRequestsMax: 1, producerWindowMs: 0 };

/** A request that is remembered. */
export interface ProducerRequest {
  readonly sequence: bigint;
  readonly firstOffset: bigint;
  readonly count: number;
  readonly checksum: number;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** What the table says of a request. */
export type Verdict =
  | { readonly kind: "new" }
  | { readonly kind: "duplicate"; readonly first: ProducerRequest }
  | { readonly kind: "conflict"; readonly lastSequence: bigint; readonly reused: boolean };

/** A stream's producers. */
export class ProducerTable {
  private readonly limits: ProducerLimits;
  private readonly producers = new Map<string, ProducerRequest[]>();

  constructor(limits: ProducerLimits) {
    this.limits = limits;
  }

  /** Remembers a request that was, or is about to be, stored. */
  record(id: string, request: ProducerRequest): void {
    const requests = this.producers.get(id) ?? [];
    remember(requests, request, this.limits);
    this.producers.delete(id);
    this.producers.set(id, requests);
  }

  /** Begins a draft: what a commit with `timestamp` (milliseconds since 1970) would change. */
  draft(timestamp: number): ProducerDraft {
    return new ProducerDraft(this, this.limits, timestamp);
  }

  /** What is remembered of a producer at the time `now`, the oldest first. */
  requestsOf(id: string, now: number): readonly ProducerRequest[] | undefined {
    const requests = this.producers.get(id);
    if (requests === undefined || requests.at(-1)!.timestamp < now - this.limits.producerWindowMs) return undefined;
    return requests;
  }

  /** Remembers the requests of a stored frame. */
  recordFrame(frame: Frame): void {
    if (frame.producerSection.length === 0) return;
    for (const { id, ...request } of readProducerEntries(frame.producerSection)) {
      this.record(id, { ...request, timestamp: frame.timestamp });
    }
  }

  /** Forgets what is over the limits. `now`: the timestamp of the newest commit, in milliseconds since 1970. */
  expire(now: number): void {
    const before = now - this.limits.producerWindowMs;
    for (const [id, requests] of this.producers) {
      const tooMany = this.producers.size > this.limits.producersMax;
      if (!tooMany && requests.at(-1)!.timestamp >= before) return;
      this.producers.delete(id);
    }
  }

  /** The producers, the one with the oldest last batch first. */
  entries(): IterableIterator<[string, readonly ProducerRequest[]]> {
    return this.producers.entries();
  }

  /** How many producers are remembered. */
  get size(): number {
    return this.producers.size;
  }
}

/**
 * The requests of a commit that is being built, or is built and not under way yet. Until it is, the table must not have
 * them: a checkpoint of the table that was taken before, for the commit that is under way, would speak of what may never be
 * stored.
 */
export class ProducerDraft {
  private readonly table: ProducerTable;
  private readonly limits: ProducerLimits;
  private readonly timestamp: number;
  private readonly recorded: (readonly [string, ProducerRequest])[] = [];
  private readonly changed = new Map<string, ProducerRequest[]>();

  constructor(table: ProducerTable, limits: ProducerLimits, timestamp: number) {
    this.table = table;
    this.limits = limits;
    this.timestamp = timestamp;
  }

  /**
   * Judges a request against the table, and against what was recorded here: the next sequence is the last plus one; a
   * remembered one must hold the same records.
   */
  judge(id: string, sequence: bigint, checksum: number, count: number): Verdict {
    const requests = this.changed.get(id) ?? this.table.requestsOf(id, this.timestamp);
    return judgeRequest(requests, sequence, checksum, count);
  }

  /** Remembers a request, so that what is behind it is judged against it. */
  record(id: string, request: ProducerRequest): void {
    const requests = this.changed.get(id) ?? [...(this.table.requestsOf(id, this.timestamp) ?? [])];
    remember(requests, request, this.limits);
    this.changed.set(id, requests);
    this.recorded.push([id, request]);
  }

  /**
   * Puts what was recorded into the table, once. It forgets what is over the limits before, as the draft did when it judged,
   * and after, as recovery does.
   */
  apply(): void {
    this.table.expire(this.timestamp);
    for (const [id, request] of this.recorded) this.table.record(id, request);
    this.table.expire(this.timestamp);
  }
}

function judgeRequest(
  requests: readonly ProducerRequest[] | undefined,
  sequence: bigint,
  checksum: number,
  count: number,
): Verdict {
  const last = requests?.at(-1);
  if (requests === undefined || last === undefined || sequence === last.sequence + 1n) return { kind: "new" };
  const first = requests.find((request) => request.sequence === sequence);
  if (first?.checksum === checksum && first.count === count) return { kind: "duplicate", first };
  return { kind: "conflict", lastSequence: last.sequence, reused: first !== undefined };
}

/** Appends a request to what is remembered of its producer. */
function remember(requests: ProducerRequest[], request: ProducerRequest, limits: ProducerLimits): void {
  const last = requests.at(-1);
  // A producer that was forgotten, or whose frames are damaged, begins anew.
  if (last !== undefined && request.sequence !== last.sequence + 1n) requests.length = 0;
  requests.push(request);
  if (requests.length > limits.producerRequestsMax) requests.shift();
}
