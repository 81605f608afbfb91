import type { Observed } from "./observed.ts";
import type { Leader } from "./leader.ts";

/**
 * What a standby knows of the leader that it watches.
 *
 * - `none`: it was heard of lately, or was not watched for long enough.
 * - `gone`: its host refuses connections, so that its process is there no more.
 * - `silent`: nothing was heard of it for the suspicion time, or another process answers at its address.
 * - `resigned`: by its own word it does not lead any more.
 */
export type Evidence =
  | { readonly kind: "none" | "gone" | "silent" }
  | {
      readonly kind: "resigned";
      /** The id of the node that shall take over; undefined: any. */
      readonly successor: string | undefined;
    };

/** The port through which an election hears of the leader. It lives as long as the node does. */
export interface LeaderWatch {
  /**
   * Watches this leader from now on; undefined: nobody. A leader with the same node id and epoch is watched on. With
   * any other the evidence becomes `none`.
   */
  follow(leader: Leader | undefined): void;
  /** What speaks against the leader that is followed. */
  readonly evidence: Observed<Evidence>;
  /** When the leader that is followed was heard of last, by the monotonic clock; undefined: never. */
  readonly heardAt: number | undefined;
}
