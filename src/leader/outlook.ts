/**
 * What a node that stands by makes of each look at `cluster/leader`: whom to watch, whether to stand for leadership, and
 * when to look again.
 *
 * Invariants:
 * - Evidence counts only against the leader that the look found: the same node under the same epoch.
 * - While nothing is known against a leader whose lease is held, the next look is a whole poll interval away, or more.
 */
import { sleep } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { jitter } from "./backoff.ts";
import type { Claimant, Control } from "./control.ts";
import { causeOfVacancy, judgeLeader } from "./grounds.ts";
import type { Verdict } from "./grounds.ts";
import type { FailoverCause, Leader } from "./leader.ts";
import type { Evidence, LeaderWatch } from "./watch.ts";

/** What an outlook needs. */
export interface OutlookOptions {
  readonly clock: Clock;
  readonly watch: LeaderWatch;
  readonly self: Claimant;
  /** How often, at most, to look while nothing is known against the leader, in milliseconds. */
  readonly pollMs: number;
}

/** What follows from a look: stand for leadership, because the leader is to be replaced for a cause, or wait. */
export type Decision = { readonly cause: FailoverCause } | { readonly cause?: undefined; readonly waitMs: number };

/** A standby's view of the election. */
export interface Outlook {
  /** Takes in what a look found, has its leader watched from now on, and says what to do. */
  consider(found: Control): Decision;
  /** Who leads as of the last look, this node excluded; undefined where nobody does, or by its own word not any more. */
  readonly leader: Leader | undefined;
  /** How long ago the leader that is watched was heard of, in milliseconds; undefined where that is not known. */
  silenceMs(): number | undefined;
  /** Notes that this node stood and won: there is nobody to watch. */
  won(): void;
  /** Notes that this node's own term ended, and whether by its own word: then it lets others go first. */
  lost(epoch: number, resigned: boolean): void;
  /** How long to wait where there is nothing to do, in milliseconds: different each time. */
  pollMs(): number;
  /** Resolves after `waitMs` milliseconds, or as soon as there is news of the leader, or `signal` is aborted. */
  nextLook(waitMs: number, signal: AbortSignal): Promise<void>;
}

// A leader that resigned leaves the others this much time to take over.
const resignedPauseMs = 1000;
// A leader's chosen successor has this much time before others stand.
const successorGraceMs = 1000;
// Who claimed has this much time to take the lease before others stand.
const claimantGraceMs = 500;
// How often, at most, to look while somebody is expected to take over.
const expectantLookMs = 100;
// How often, at most, to look while something is known against the leader, but not enough.
const suspiciousLookMs = 1000;
// How often, at most, changes of evidence alone make a node look.
const newsLookMs = 500;
// A node that was found gone though it lived is cut off from who found it so: it trusts no refusals meanwhile.
const quietMs = 10 * 60_000;

const noEvidence: Evidence = { kind: "none" };

/** Makes the outlook of a node that has not looked yet. */
export function createOutlook({ clock, watch, self, pollMs }: OutlookOptions): Outlook {
  let looks = 0;
  let followed: Leader | undefined;
  let leader: Leader | undefined;
  let judged = noEvidence;
  /** The epochs of the last look, of this node's last term (until its end was judged), and of its last resignation. */
  let seenEpoch: number | undefined;
  let lostEpoch: number | undefined;
  let resignedEpoch: number | undefined;
  let standFrom = -Infinity;
  let quietUntil = -Infinity;
  let newsAt = -Infinity;

  const poll = () => pollMs * (1 + 0.5 * clock.random());

  function follow(next: Leader | undefined): void {
    followed = next;
    watch.follow(next);
  }

  function watchLeader(found: Control): void {
    const { claimant, epoch, since, failover, leased } = found;
    const other = claimant === undefined || claimant.nodeId === self.nodeId ? undefined : claimant;
    // Who has this node's own address cannot be watched. And of one that does not lead news is of use only if it was
    // watched while it did.
    const known = other !== undefined && followed?.nodeId === other.nodeId && followed.epoch === epoch;
    const watched = other !== undefined && other.endpoint !== self.endpoint && (leased || known) ? other : undefined;
    follow(watched && { ...watched, epoch, since, failover });
    judged = watch.evidence.value;
    const leads = other !== undefined && leased && judged.kind !== "resigned";
    leader = leads ? { ...other, epoch, since, failover } : undefined;
  }

  /** Lets others go first where somebody is expected to lead soon. */
  function leaveTime(found: Control): void {
    const now = clock.monotonic();
    const claimed = seenEpoch !== undefined && found.epoch > seenEpoch && found.claimant?.nodeId !== self.nodeId;
    if (claimed && !found.leased) standFrom = now + claimantGraceMs;
    seenEpoch = found.epoch;
    const successor = judged.kind === "resigned" ? judged.successor : undefined;
    if (successor !== undefined && resignedEpoch !== found.epoch) {
      resignedEpoch = found.epoch;
      standFrom = successor === self.nodeId ? -Infinity : now + successorGraceMs;
    }
    if (lostEpoch === undefined || found.epoch <= lostEpoch) return;
    if (found.failover.cause === "gone") quietUntil = now + quietMs;
    lostEpoch = undefined;
  }

  function judge(found: Control): Verdict {
    const { claimant, leased } = found;
    const own = claimant?.nodeId === self.nodeId;
    if (!leased) return { cause: own && resignedEpoch === found.epoch ? "resigned" : causeOfVacancy(found, judged) };
    // A lease of our own that could not be given back: it runs out soon.
    if (own) return { waitMs: suspiciousLookMs };
    if (claimant === undefined) return { waitMs: undefined };
    if (claimant.endpoint === self.endpoint) {
      // Only at the start: two nodes that by mistake go by one address must not depose each other for ever.
      return looks === 1 ? { cause: "gone" } : { waitMs: undefined };
    }
    if (judged.kind === "gone" && clock.monotonic() < quietUntil) return { waitMs: undefined };
    return judgeLeader(found, judged);
  }

  async function awaitNews(signal: AbortSignal): Promise<boolean> {
    for await (const evidence of watch.evidence.changes(signal)) {
      if (evidence.kind === "none" || isSame(evidence, judged)) continue;
      await sleep(clock, newsAt + newsLookMs - clock.monotonic(), signal);
      newsAt = clock.monotonic();
      return true;
    }
    return false;
  }

  return {
    get leader() {
      return leader;
    },
    pollMs: poll,
    consider(found) {
      looks++;
      watchLeader(found);
      leaveTime(found);
      const verdict = judge(found);
      const earlyMs = standFrom - clock.monotonic();
      if (verdict.cause !== undefined && earlyMs <= 0) return verdict;
      if (verdict.cause !== undefined) return { waitMs: Math.min(earlyMs, jitter(clock, expectantLookMs)) };
      if (verdict.waitMs === undefined) return { waitMs: poll() };
      return { waitMs: Math.min(verdict.waitMs, jitter(clock, suspiciousLookMs)) };
    },
    silenceMs() {
      const heardAt = followed === undefined ? undefined : watch.heardAt;
      return heardAt === undefined ? undefined : Math.max(0, Math.round(clock.monotonic() - heardAt));
    },
    won() {
      leader = undefined;
      judged = noEvidence;
      follow(undefined);
    },
    lost(epoch, resigned) {
      lostEpoch = epoch;
      if (!resigned) return;
      resignedEpoch = epoch;
      standFrom = clock.monotonic() + resignedPauseMs;
    },
    async nextLook(waitMs, signal) {
      const over = new AbortController();
      const until = AbortSignal.any([signal, over.signal]);
      const waiting = sleep(clock, waitMs, until);
      await Promise.race([waiting, awaitNews(until).then((news) => (news ? undefined : waiting))]);
      over.abort();
    },
  };
}

function isSame(one: Evidence, other: Evidence): boolean {
  if (one.kind !== other.kind) return false;
  return one.kind !== "resigned" || other.kind !== "resigned" || one.successor === other.successor;
}
