/** Where a call that only the leader can answer goes, and how it waits where nobody can answer it. */
import type { Clock } from "../clock.ts";
import { sleep } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Leader } from "../leader/leader.ts";
import type { PendingBudget } from "../stream/pending-budget.ts";
import type { Caller } from "./caller.ts";
import type { ClusterView, LeadershipState } from "./cluster-view.ts";
import type { CallContext } from "./handlers.ts";
import type { ObserveForward } from "./observe-calls.ts";

/** The metadata that a call carries that another node has passed on: that node's id. */
export const forwardedByKey = "messagevault-forwarded-by";

/** The metadata that an answer carries that came from another node: the leader's host:port. */
export const leaderKey = "messagevault-leader";

/** What forwarding works with. */
export interface Forwarder {
  readonly cluster: ClusterView;
  readonly caller: Caller;
  readonly clock: Clock;
  /** Whether this node leads still, but takes nothing on any more, as another node shall lead. */
  readonly handingOver: () => boolean;
  /** Aborted when this node is about to stop: nobody is waited for any more. */
  readonly leaving: AbortSignal;
  /** How long a call waits while nobody can answer it, in milliseconds. */
  readonly leaderWaitMs: number;
  /** Told of what is passed on. */
  readonly observe: ObserveForward;
  /** Bytes of requests that are here. */
  readonly pending: PendingBudget;
}

/** Who can answer: this node, or another. */
export type Target =
  | { readonly at: "here"; readonly epoch: number }
  | { readonly at: "there"; readonly leader: Leader };

/** The waits of one call. */
export interface Wait {
  /** The milliseconds that are left of the call's deadline; undefined where it has none. */
  remainingMs(): number | undefined;
  /** Resolves to who can answer now. Throws `failure`, or that nobody leads, when the time is up. */
  target(failure: unknown): Promise<Target>;
  /**
   * To be called when who was asked did nothing: the next target is another one, or the same after a growing while.
   */
  refused(): void;
  /** Begins anew, after a success: the time to wait is what it was. */
  restart(): void;
}

// So long before the call's deadline the answer goes out, so that it is the vault's word that arrives.
const answerMarginMs = 100;
// Who was asked and did nothing is asked again so long after, doubled each time up to the maximum.
const backoffMsFirst = 20;
const backoffMsMax = 250;
// How long nobody leads is looked at again so often, in case that this node has got another election meanwhile.
const lookMs = 100;
// A call whose leader leads no more is given up when it was so at so many looks in a row.
const leftLooks = 2;
const leftLookMs = 250;
// What a client is told to wait when nobody leads.
const retryAfterMs = 500;

/** Begins the waits of a call. */
export function startWait(forwarder: Forwarder, { deadlineMs, signal }: CallContext): Wait {
  const { cluster, clock, leaving, leaderWaitMs } = forwarder;
  const deadline = deadlineMs === undefined ? Infinity : clock.monotonic() + deadlineMs;
  const lastAnswerAt = deadline - Math.min(answerMarginMs, (deadlineMs ?? 0) / 10);
  let giveUpAt = Infinity;
  let refusals = 0;
  let askedIn: string | undefined;
  let refusedIn: string | undefined;

  async function target(failure: unknown): Promise<Target> {
    for (;;) {
      signal.throwIfAborted();
      const found = findTarget(forwarder);
      const key = describeState(cluster.election);
      askedIn = key;
      if (found !== undefined && key !== refusedIn) return found;
      const now = clock.monotonic();
      giveUpAt = Math.min(giveUpAt, now + leaderWaitMs, lastAnswerAt);
      if (now >= giveUpAt || leaving.aborted) throw failure instanceof Error ? failure : notLeading(cluster);
      const backoffMs = Math.min(backoffMsMax, backoffMsFirst * 2 ** refusals);
      const delayMs = found === undefined ? lookMs : backoffMs * (0.5 + clock.random() / 2);
      await waitForChange(cluster, clock, key, Math.min(delayMs, giveUpAt - now), signal);
      refusedIn = undefined;
    }
  }

  return {
    remainingMs: () => (deadlineMs === undefined ? undefined : Math.max(0, deadline - clock.monotonic())),
    target,
    refused() {
      giveUpAt = Math.min(giveUpAt, clock.monotonic() + leaderWaitMs, lastAnswerAt);
      refusals++;
      refusedIn = askedIn;
    },
    restart() {
      giveUpAt = Infinity;
      refusals = 0;
      refusedIn = undefined;
    },
  };
}

/** Who can answer now; undefined while nobody is known to. */
export function findTarget({ cluster, handingOver }: Forwarder): Target | undefined {
  const { role, leader } = cluster.election;
  if (role === "leader") return handingOver() ? undefined : { at: "here", epoch: leader?.epoch ?? 0 };
  return leader === undefined || leader.nodeId === cluster.nodeId ? undefined : { at: "there", leader };
}

/** Whether who was asked could still answer. */
export function isCurrent(forwarder: Forwarder, asked: Target): boolean {
  const now = findTarget(forwarder);
  if (asked.at === "here") return now?.at === "here" && now.epoch === asked.epoch;
  // While nobody is known to lead, it may be that one that leads again.
  return now === undefined ? !forwarder.handingOver() : isLeader(now, asked.leader);
}

function isLeader(target: Target, { nodeId, epoch }: Leader): boolean {
  return target.at === "there" && target.leader.nodeId === nodeId && target.leader.epoch === epoch;
}

/** Waits for another leader than the node of this id, for at most `limitMs`. Resolves to who leads now, if anybody. */
export async function waitForSuccessor(
  cluster: ClusterView,
  clock: Clock,
  askedNodeId: string,
  limitMs: number,
  signal: AbortSignal,
): Promise<Leader | undefined> {
  const until = clock.monotonic() + limitMs;
  for (;;) {
    const { leader } = cluster.election;
    if (leader !== undefined && leader.nodeId !== askedNodeId) return leader;
    const remainingMs = until - clock.monotonic();
    if (remainingMs <= 0 || signal.aborted) return leader;
    await waitForChange(cluster, clock, describeState(cluster.election), Math.min(lookMs, remainingMs), signal);
  }
}

/** Resolves when the election's state is not `seen` any more, after `delayMs`, or when `signal` is aborted. */
async function waitForChange(
  { election }: ClusterView,
  clock: Clock,
  seen: string,
  delayMs: number,
  signal: AbortSignal,
): Promise<void> {
  const enough = new AbortController();
  const timer = clock.timer(delayMs, () => enough.abort());
  const stop = AbortSignal.any([signal, enough.signal]);
  try {
    for await (const state of election.changes(stop)) if (describeState(state) !== seen) return;
    // An election that is over has nothing to tell: time goes on all the same.
    await sleep(clock, delayMs, stop);
  } finally {
    timer.cancel();
  }
}

function describeState({ role, leader }: LeadershipState): string {
  return `${role} ${leader?.nodeId ?? ""} ${leader?.epoch ?? 0}`;
}

/** What a node answers that does not lead. */
export function notLeading({ nodeId, election: { leader } }: ClusterView): VaultError {
  const other = leader?.nodeId === nodeId ? undefined : leader;
  const who = other === undefined ? "no leader is known now" : `the leader is ${other.endpoint}`;
  const detail = { retryAfterMs, ...(other === undefined ? {} : { leader: other.endpoint }) };
  return new VaultError("unavailable", `this node does not lead: ${who}; nothing was done, try again`, detail);
}

/** The error for a request that was passed on and not answered. */
export function unknownOutcome(endpoint: string, why: string, cause: unknown): VaultError {
  return new VaultError(
    "indeterminate",
    `the leader at ${endpoint} gave no answer (${why}): this may or may not have been done; ` +
      "look before you repeat it, unless it carries a producer and a sequence",
    { resource: endpoint },
    cause,
  );
}

/** Whether a call to a target is still worth its while. */
export interface TargetWatch {
  /** Aborted when the call is given up, and a little after another one leads. */
  readonly signal: AbortSignal;
  /** Whether another one leads. */
  readonly left: boolean;
  /** Ends the watch. */
  end(): void;
}

/** Watches whether `target` goes on to lead, until `signal` is aborted or the watch is ended. */
export function watchTarget(forwarder: Forwarder, target: Target, signal: AbortSignal): TargetWatch {
  const { clock } = forwarder;
  const over = new AbortController();
  let misses = 0;
  let left = false;
  const abort = () => over.abort(signal.reason);
  const look = () => {
    misses = isCurrent(forwarder, target) ? 0 : misses + 1;
    left = misses >= leftLooks;
    if (left) over.abort();
    else timer = clock.timer(leftLookMs, look);
  };
  let timer = clock.timer(leftLookMs, look);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  return {
    signal: over.signal,
    get left() {
      return left;
    },
    end() {
      timer.cancel();
      signal.removeEventListener("abort", abort);
    },
  };
}
