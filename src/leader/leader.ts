/** Who leads, and how it came to that. */
export interface Leader {
  readonly nodeId: string;
  /** host:port. */
  readonly endpoint: string;
  readonly epoch: number;
  /** Since when, by storage's clock, in milliseconds since 1970. */
  readonly since: number;
  readonly failover: Failover;
}

/** A change of leader. */
export interface Failover {
  readonly cause: FailoverCause;
  /**
   * How long nobody led, in milliseconds: from the last sign of the leader before to the new one's claim, as the new one
   * knows it. Undefined where it had not watched the one before.
   */
  readonly gapMs: number | undefined;
}

/**
 * Why a leader was replaced.
 *
 * - `first`: there was none before.
 * - `resigned`: it said itself that it leads no more.
 * - `expired`: its lease ran out.
 * - `gone`: its host refused connections, or a process started at its address.
 * - `silent`: it was not heard of for the suspicion time.
 * - `unknown`: another version of the vault wrote it.
 */
export type FailoverCause = (typeof failoverCauses)[number];

/** All causes. */
export const failoverCauses = ["first", "resigned", "expired", "gone", "silent", "unknown"] as const;
