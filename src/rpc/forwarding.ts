/**
 * Sends calls that only the leader can answer to the leader, whichever node they come to.
 *
 * A call goes round until somebody has answered it: to this node's own handler while it leads, to the leader while
 * another one does. Where nobody does, or who was asked did nothing (`unavailable`), it waits for a change of leader or
 * a little while. Its time is `leaderWaitMs`, or less if its deadline is sooner; then it ends with what it met last.
 *
 * Invariants:
 * - A call is passed on once at most: one that was passed on to this node is answered here, or not at all.
 * - It goes round only as long as nothing was done. What was sent and not answered is `indeterminate`, and stays so.
 * - What is here of calls that wait or were passed on is counted, and at most `pendingBytesMax` bytes of requests
 *   together; beyond that calls are refused, and requests of pipelined ones held back.
 */
import { ClusterService } from "../../gen/messagevault/v1/cluster_pb.ts";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { isKind, VaultError } from "../errors.ts";
import { noTelemetry, type Telemetry } from "../telemetry.ts";
import { PendingBudget } from "../stream/pending-budget.ts";
import { forwardStream } from "./forward-stream.ts";
import { forwardedMetadata } from "./forwarded-metadata.ts";
import type { CallContext, Handler, HandlerTable, UnaryHandler } from "./handlers.ts";
import { methodPath } from "./handlers.ts";
import { createForwardObserver } from "./observe-calls.ts";
import type { Forwarder, Target } from "./leader-route.ts";
import { findTarget, forwardedByKey, isCurrent, leaderKey, notLeading } from "./leader-route.ts";
import { startWait, unknownOutcome, watchTarget } from "./leader-route.ts";

/** What forwarding needs. */
export interface ForwardingOptions extends Omit<Forwarder, "leaderWaitMs" | "pending" | "observe"> {
  /** Where calls that are passed on are told of; nowhere if absent. */
  readonly telemetry?: Telemetry | undefined;
  readonly settings: {
    /** How long a call waits while nobody can answer it, in milliseconds. */
    readonly leaderWaitMs: number;
    /** How many bytes of requests may be here at a time. */
    readonly pendingBytesMax: number;
  };
}

/** The methods that only the leader answers. */
const leaderMethods: ReadonlySet<string> = new Set(
  [
    VaultService.method.publish,
    VaultService.method.publishStream,
    StreamService.method.createStream,
    StreamService.method.updateStream,
    StreamService.method.deleteStream,
    StreamService.method.trimStream,
    ClusterService.method.transferLeadership,
  ].map(methodPath),
);

/** The methods that the leader answers from memory, and any other node from storage. */
const tailMethods: ReadonlySet<string> = new Set(
  [StreamService.method.getStream, StreamService.method.getReadAccess].map(methodPath),
);

// How long the leader may take to answer what can be answered here as well.
const tailAnswerMsMax = 2000;

/** The same handlers, but what only the leader can answer goes to the leader. */
export function createForwarding(handlers: HandlerTable, options: ForwardingOptions): HandlerTable {
  const { leaderWaitMs, pendingBytesMax } = options.settings;
  const pending = new PendingBudget(pendingBytesMax);
  const observe = createForwardObserver(options.clock, options.telemetry ?? noTelemetry);
  const forwarder: Forwarder = { ...options, leaderWaitMs, observe, pending };
  return Object.fromEntries(
    Object.entries(handlers).map(([path, handler]) => [path, forwardMethod(forwarder, path, handler)]),
  );
}

function forwardMethod(forwarder: Forwarder, path: string, handler: Handler): Handler {
  if (handler.kind === "unary" && leaderMethods.has(path)) {
    return { kind: "unary", handle: (request, context) => forwardUnary(forwarder, path, handler, request, context) };
  }
  if (handler.kind === "duplex" && leaderMethods.has(path)) {
    return {
      kind: "duplex",
      handle: (requests, context) => forwardStream(forwarder, path, handler, requests, context),
    };
  }
  if (handler.kind === "unary" && tailMethods.has(path)) {
    return { kind: "unary", handle: (request, context) => forwardRead(forwarder, path, handler, request, context) };
  }
  return handler;
}

async function forwardUnary(
  forwarder: Forwarder,
  path: string,
  local: UnaryHandler,
  request: Buffer,
  context: CallContext,
): Promise<Uint8Array> {
  const { cluster, pending } = forwarder;
  if (context.metadata.get(forwardedByKey) !== undefined) {
    if (cluster.election.role !== "leader") throw notLeading(cluster);
    return local.handle(request, context);
  }
  const wait = startWait(forwarder, context);
  let failure: unknown;
  let heldBytes = 0;
  const hold = () => {
    if (heldBytes > 0) return;
    if (pending.exhausted) throw tooManyBytes(forwarder);
    heldBytes = request.length;
    pending.take(heldBytes);
  };
  try {
    for (;;) {
      if (findTarget(forwarder)?.at !== "here") hold();
      const target = await wait.target(failure);
      try {
        if (target.at === "here") return await local.handle(request, context);
        return await passOn(forwarder, target, path, request, context, wait.remainingMs());
      } catch (error) {
        if (!didNothing(forwarder, target, error)) throw error;
        failure = error;
        wait.refused();
      }
    }
  } finally {
    pending.giveBack(heldBytes);
  }
}

/** Asks the leader while there is one, and answers here where it does not answer. */
async function forwardRead(
  forwarder: Forwarder,
  path: string,
  local: UnaryHandler,
  request: Buffer,
  context: CallContext,
): Promise<Uint8Array> {
  const target = findTarget(forwarder);
  if (target?.at !== "there" || context.metadata.get(forwardedByKey) !== undefined)
    return local.handle(request, context);
  try {
    const limitMs = Math.min(tailAnswerMsMax, context.deadlineMs ?? Infinity);
    return await passOn(forwarder, target, path, request, context, limitMs);
  } catch (error) {
    if (!isKind(error, "unavailable", "indeterminate") || context.signal.aborted) throw error;
    return local.handle(request, context);
  }
}

async function passOn(
  forwarder: Forwarder,
  target: Target & { at: "there" },
  path: string,
  request: Buffer,
  context: CallContext,
  deadlineMs: number | undefined,
): Promise<Buffer> {
  const { cluster, caller, observe } = forwarder;
  const { endpoint } = target.leader;
  const watched = watchTarget(forwarder, target, context.signal);
  const call = observe(path, endpoint);
  const metadata = forwardedMetadata(cluster.nodeId, context, call?.trace);
  try {
    const answer = await caller.unary(endpoint, path, request, { signal: watched.signal, deadlineMs, metadata });
    call?.end();
    context.sendMetadata({ [leaderKey]: endpoint });
    return answer;
  } catch (error) {
    call?.end(error);
    if (!isKind(error, "indeterminate")) throw error;
    throw unknownOutcome(endpoint, watched.left ? "it leads no more" : error.message, error);
  } finally {
    watched.end();
  }
}

/** Whether a call failed without having done anything, and for a reason that another leader, or a while, may cure. */
function didNothing(forwarder: Forwarder, target: Target, error: unknown): boolean {
  if (target.at === "there") return isKind(error, "unavailable");
  return isKind(error, "fenced") || (isKind(error, "unavailable") && !isCurrent(forwarder, target));
}

function tooManyBytes({ pending }: Forwarder): VaultError {
  const message = `requests of ${pending.usedBytes} bytes wait here for the leader already: slow down`;
  return new VaultError("overloaded", message, { retryAfterMs: 1000 });
}
