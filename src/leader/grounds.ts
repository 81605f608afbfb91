/**
 * When a node may depose a leader whose lease is still held. None of it is needed for safety, which the fence on each
 * segment keeps; it is here so that a dead leader is replaced soon and nodes that cannot reach each other do not fight.
 *
 * Silence alone is weak: the link may be cut and the leader well. So a leader may be deposed for it only once it led for
 * `ageMsMin`, and twice as long for each time in a row that a leader was replaced for silence, up to `ageMsMax`. That
 * count goes on over leaders that were found gone, for a cut may look like that from one side, and begins anew behind
 * any other change and behind a leader that led for longer than `ageMsMax`.
 */
import type { Control } from "./control.ts";
import type { FailoverCause } from "./leader.ts";
import type { Evidence } from "./watch.ts";

/** What may be done about a leader: replace it for a cause, or look again after a while. */
export type Verdict =
  | { readonly cause: FailoverCause }
  | {
      readonly cause?: undefined;
      /** Undefined: there is nothing against it. */
      readonly waitMs: number | undefined;
    };

const ageMsMin = 15_000;
const ageMsMax = 10 * 60_000;

/** Judges the leader that `found` tells of, whose lease is held, by the evidence against that very leader. */
export function judgeLeader(found: Control, evidence: Evidence): Verdict {
  switch (evidence.kind) {
    case "none":
      return { waitMs: undefined };
    case "gone":
    case "resigned":
      return { cause: evidence.kind };
    case "silent": {
      const waitMs = Math.min(ageMsMin * 2 ** found.silences, ageMsMax) - ageMs(found);
      return waitMs <= 0 ? { cause: "silent" } : { waitMs };
    }
  }
}

/** The count of silences that a claim for this cause writes, where `found` tells of the leader that is replaced. */
export function countSilences(found: Control, cause: FailoverCause): number {
  if (cause !== "silent" && cause !== "gone") return 0;
  const before = ageMs(found) > ageMsMax ? 0 : found.silences;
  return cause === "silent" ? before + 1 : before;
}

/** Why the leader that `found` tells of leads no more, where nobody holds the lease. */
export function causeOfVacancy(found: Control, evidence: Evidence): FailoverCause {
  if (found.claimant === undefined) return "first";
  return evidence.kind === "resigned" || evidence.kind === "gone" ? evidence.kind : "expired";
}

function ageMs(found: Control): number {
  return found.date - found.since;
}
