/**
 * PublishStream at any node: requests go to the leader as they come, its answers go back.
 *
 * The call stays open over a change of leader as long as no request is unanswered: then it goes on with the next
 * leader, and the client notices nothing. Where one is unanswered the call ends: UNKNOWN if it may be stored, else
 * UNAVAILABLE as soon as the next leader is known, so that the client can send it again at once.
 *
 * Invariants: a request is taken from the client only to be passed on, and once; nothing is held but the one that the
 * transport has not taken yet. A leg's `unanswered` counts what was taken for it and not answered.
 */
import { isKind, VaultError } from "../errors.ts";
import type { PendingBudget } from "../stream/pending-budget.ts";
import { forwardedMetadata } from "./forwarded-metadata.ts";
import type { CallContext, DuplexHandler, WireBytes } from "./handlers.ts";
import type { Forwarder, Target, TargetWatch } from "./leader-route.ts";
import { forwardedByKey, isCurrent, leaderKey, notLeading, startWait } from "./leader-route.ts";
import { unknownOutcome, waitForSuccessor, watchTarget } from "./leader-route.ts";

// How long to wait to see whether a leader that refused is replaced; a leg that lasted longer was no failure.
const replacementMs = 1000;

/** Answers a PublishStream call: with `local` while this node leads, else by the leader. */
export async function* forwardStream(
  forwarder: Forwarder,
  path: string,
  local: DuplexHandler,
  incoming: AsyncIterable<Buffer>,
  context: CallContext,
): AsyncGenerator<WireBytes> {
  const { cluster, clock } = forwarder;
  if (context.metadata.get(forwardedByKey) !== undefined) {
    if (cluster.election.role !== "leader") throw notLeading(cluster);
    yield* local.handle(incoming, context);
    return;
  }
  const requests = shareRequests(forwarder.pending, incoming);
  const wait = startWait(forwarder, context);
  let failure: unknown;
  let introduced = false;
  for (;;) {
    const target = await wait.target(failure);
    const leg = requests.begin(target.at === "there");
    const link = openLink(forwarder, target, leg, context.signal);
    const begunAt = clock.monotonic();
    try {
      for await (const answer of answers(forwarder, path, local, leg, link, context, wait.remainingMs())) {
        leg.unanswered--;
        if (target.at === "there" && !introduced) context.sendMetadata({ [leaderKey]: target.leader.endpoint });
        introduced = true;
        yield answer;
      }
      if (requests.ended || !leg.stopped) return;
      context.signal.throwIfAborted();
      failure = undefined;
    } catch (error) {
      if (context.signal.aborted || leg.unanswered > 0 || !mayGoOn(forwarder, target, error)) {
        throw await endingOf(forwarder, link, leg, error, context.signal);
      }
      failure = error;
    } finally {
      leg.stop();
      link.end();
    }
    if (clock.monotonic() - begunAt > replacementMs) wait.restart();
    if (failure !== undefined) wait.refused();
  }
}

/** The answers of whoever is asked in this leg of the call. */
function answers(
  forwarder: Forwarder,
  path: string,
  local: DuplexHandler,
  leg: Leg,
  { target, watch }: Link,
  context: CallContext,
  deadlineMs: number | undefined,
): AsyncIterable<WireBytes> {
  if (target.at === "here") return local.handle(leg.requests, context);
  return passOn(forwarder, path, target.leader.endpoint, leg, watch.signal, context, deadlineMs);
}

async function* passOn(
  { cluster, caller, observe }: Forwarder,
  path: string,
  endpoint: string,
  leg: Leg,
  signal: AbortSignal,
  context: CallContext,
  deadlineMs: number | undefined,
): AsyncGenerator<WireBytes> {
  const call = observe(path, endpoint);
  const metadata = forwardedMetadata(cluster.nodeId, context, call?.trace);
  let failure: unknown = new VaultError("unavailable", "the call was given up");
  try {
    yield* caller.duplex(endpoint, path, leg.requests, { signal, deadlineMs, metadata });
    failure = undefined;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    call?.end(failure);
  }
}

/** Whether the call can go on elsewhere, or here in a while, as nothing of it is open. */
function mayGoOn(forwarder: Forwarder, target: Target, error: unknown): boolean {
  if (target.at === "there") return isKind(error, "unavailable", "indeterminate");
  return isKind(error, "fenced") || (isKind(error, "unavailable") && !isCurrent(forwarder, target));
}

/** The error that the call ends with. Where nothing was stored it says who leads now, as soon as that is known. */
async function endingOf(
  forwarder: Forwarder,
  { target, watch }: Link,
  leg: Leg,
  error: unknown,
  signal: AbortSignal,
): Promise<unknown> {
  const there = target.at === "there";
  if (there && isKind(error, "indeterminate") && leg.unanswered > 0) {
    return unknownOutcome(target.leader.endpoint, watch.left ? "it leads no more" : error.message, error);
  }
  const current = isCurrent(forwarder, target);
  if (!isKind(error, "unavailable", "fenced") || (current && !there)) return error;
  const askedNodeId = there ? target.leader.nodeId : forwarder.cluster.nodeId;
  const limitMs = current ? Math.min(replacementMs, forwarder.leaderWaitMs) : forwarder.leaderWaitMs;
  const leader = await waitForSuccessor(forwarder.cluster, forwarder.clock, askedNodeId, limitMs, signal);
  if (leader === undefined || leader.nodeId === askedNodeId) return error;
  const named = leader.nodeId === forwarder.cluster.nodeId ? {} : { leader: leader.endpoint };
  return new VaultError("unavailable", error.message, { ...error.detail, retryAfterMs: 0, ...named }, error);
}

/** Who is asked in a leg, and whether it still leads. */
interface Link {
  readonly target: Target;
  readonly watch: TargetWatch;
  end(): void;
}

/**
 * Stops the leg when another one leads or the call ends. A client that is gone, or another leader, cuts the link too; a
 * server that drains lets what was passed on be answered first.
 */
function openLink(forwarder: Forwarder, target: Target, leg: Leg, signal: AbortSignal): Link {
  const gone = new AbortController();
  const watch = watchTarget(forwarder, target, gone.signal);
  const onAbort = () => {
    leg.stop();
    if (!(signal.reason instanceof VaultError)) gone.abort();
  };
  const onLeft = () => leg.stop();
  watch.signal.addEventListener("abort", onLeft, { once: true });
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  return {
    target,
    watch,
    end() {
      watch.end();
      signal.removeEventListener("abort", onAbort);
    },
  };
}

/** One target's part of the call. */
interface Leg {
  /** The client's requests, until they end or the leg is stopped. */
  readonly requests: AsyncIterable<Buffer>;
  unanswered: number;
  readonly stopped: boolean;
  /** Takes no more requests: the next leg does. */
  stop(): void;
}

/** The client's requests, which one leg after the other takes. */
interface SharedRequests {
  /** Whether the client has said that no more are coming. */
  readonly ended: boolean;
  /** Begins a leg. Where `held`, its requests count as pending until they are taken. */
  begin(held: boolean): Leg;
}

function shareRequests(pending: PendingBudget, incoming: AsyncIterable<Buffer>): SharedRequests {
  const iterator = incoming[Symbol.asyncIterator]();
  // What a leg has asked for and not taken is the next one's.
  let next: Promise<IteratorResult<Buffer>> | undefined;
  let ended = false;

  function begin(held: boolean): Leg {
    const stopping = new AbortController();
    let wake: (() => void) | undefined;
    const unlessStopped = <T>(step: Promise<T>) =>
      new Promise<T | undefined>((resolve, reject) => {
        wake = () => resolve(undefined);
        step.then(resolve, reject);
      });

    async function* take(): AsyncGenerator<Buffer> {
      while (!stopping.signal.aborted) {
        const result = await unlessStopped((next ??= iterator.next()));
        if (stopping.signal.aborted || result === undefined) return;
        ended = result.done === true;
        if (result.done === true) return;
        const room = held ? await pending.waitForRoom(result.value.length, stopping.signal) : undefined;
        try {
          if (stopping.signal.aborted) return;
          next = undefined;
          leg.unanswered++;
          yield result.value;
        } finally {
          room?.release();
        }
      }
    }

    const leg: Leg = {
      requests: take(),
      unanswered: 0,
      get stopped() {
        return stopping.signal.aborted;
      },
      stop() {
        stopping.abort();
        wake?.();
      },
    };
    return leg;
  }

  return {
    get ended() {
      return ended;
    },
    begin,
  };
}
