/**
 * What a leader tells the nodes that watch it.
 *
 * A watch is silent for no longer than a heartbeat, whatever else goes on: it waits for nothing but time, and what is
 * news is taken along. Of streams' ends it holds one batch, of which it sends `streamEndsMax` at a time.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { StreamEndSchema } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import { PeerService, WatchRequestSchema, WatchResponseSchema } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import type { WatchRequest } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import type { Clock } from "../clock.ts";
import { parseEndpoint } from "../leader/probe.ts";
import { Notifier } from "../stream/notifier.ts";
import type { StreamEnd, StreamEndSource } from "../stream/stream-end.ts";
import { readState } from "./cluster-view.ts";
import type { ClusterView, LeadershipState, Member } from "./cluster-view.ts";
import type { CallContext, HandlerTable } from "./handlers.ts";
import { decodeRequest, encodeResponse, methodPath } from "./handlers.ts";
import type { Members } from "./members.ts";
import { invalidField, toTimestamp } from "./values.ts";

/** What the service needs. */
export interface PeerServiceOptions {
  readonly cluster: ClusterView;
  readonly clock: Clock;
  /** How often each watcher is told that this node is there, in milliseconds. */
  readonly heartbeatMs: number;
  /** Gets to know who watches. */
  readonly members: Members;
  /** Where this node's commits are told. */
  readonly streamEnds: StreamEndSource;
}

/** The most stream ends in one response: about 200 bytes each. */
export const streamEndsMax = 1000;

/** The shortest time between two batches of stream ends, in milliseconds: what is new meanwhile is told together. */
export const streamEndsIntervalMs = 5;

/** The longest text of a member: its id, its endpoint, its version. */
const memberTextLengthMax = 300;

type ResponseInit = MessageInitShape<typeof WatchResponseSchema>;

/** The methods of PeerService. */
export function createPeerHandlers(options: PeerServiceOptions): HandlerTable {
  return {
    [methodPath(PeerService.method.watch)]: {
      kind: "serverStream",
      async *handle(request, context) {
        const watcher = readWatcher(decodeRequest(WatchRequestSchema, request));
        for await (const response of watch(options, watcher, context))
          yield encodeResponse(WatchResponseSchema, response);
      },
    },
  };
}

async function* watch(
  options: PeerServiceOptions,
  watcher: Member,
  { signal }: CallContext,
): AsyncGenerator<ResponseInit> {
  const { cluster, members } = options;
  const self: Member = { id: cluster.nodeId, endpoint: cluster.endpoint, version: cluster.version };
  if (cluster.election.role !== "leader") {
    yield ending(await readState(cluster), undefined, self);
    return;
  }
  const leave = members.add(watcher);
  const over = new AbortController();
  try {
    yield* tell(options, self, AbortSignal.any([signal, over.signal]));
    signal.throwIfAborted();
  } finally {
    over.abort();
    leave();
  }
}

/** Tells until this node leads no more or `signal` is aborted. */
async function* tell(options: PeerServiceOptions, self: Member, signal: AbortSignal): AsyncGenerator<ResponseInit> {
  const { cluster, clock, heartbeatMs, members, streamEnds } = options;
  const news = new Notifier(clock);
  void followElection(cluster, news, signal);
  const ends = followEnds(streamEnds, clock, news, signal);
  void followMembers(members, news, signal);
  let epoch = cluster.election.leader?.epoch ?? 0;
  let told: readonly Member[] | undefined;
  let dueAt = clock.monotonic();
  let leader: Member | undefined = self;
  while (cluster.election.role === "leader" && !signal.aborted) {
    epoch = cluster.election.leader?.epoch ?? epoch;
    const batch = ends.take();
    const changed = told === members.list ? undefined : members.list;
    if (batch.length > 0 || changed !== undefined || clock.monotonic() >= dueAt) {
      told = members.list;
      dueAt = clock.monotonic() + heartbeatMs;
      yield toResponse(epoch, leader, changed, batch);
      leader = undefined;
    } else {
      await news.wait(Math.max(1, Math.min(dueAt - clock.monotonic(), ends.waitMs())), signal);
    }
  }
  // Also where the server drains already: who watches shall not have to find out.
  const last = await readState(cluster);
  if (last?.role !== "leader") yield ending(last, epoch);
}

/** The last response: by this node's own word where its term of that epoch (undefined: its last one) ended so. */
function ending(state: LeadershipState | undefined, epoch: number | undefined, leader?: Member): ResponseInit {
  const resigned = state?.resigned;
  const who = leader === undefined ? {} : { leader };
  if (resigned === undefined || (epoch !== undefined && resigned.epoch !== epoch)) return { epoch: 0n, ...who };
  return { epoch: BigInt(resigned.epoch), resignation: { successorId: resigned.successor ?? "" }, ...who };
}

function toResponse(
  epoch: number,
  leader: Member | undefined,
  members: readonly Member[] | undefined,
  ends: readonly StreamEnd[],
): ResponseInit {
  return {
    epoch: BigInt(epoch),
    ...(leader === undefined ? {} : { leader }),
    ...(members === undefined ? {} : { watchers: { members: [...members] } }),
    streamEnds: ends.map(toStreamEnd),
  };
}

function toStreamEnd({ timestamp, position, ...end }: StreamEnd): MessageInitShape<typeof StreamEndSchema> {
  return {
    ...end,
    position: BigInt(position),
    ...(timestamp === undefined ? {} : { timestamp: toTimestamp(timestamp) }),
  };
}

/** Wakes `news` whenever the election changes, until `signal` is aborted. */
async function followElection({ election }: ClusterView, news: Notifier, signal: AbortSignal): Promise<void> {
  for await (const _state of election.changes(signal)) news.notify();
}

/** Wakes `news` whenever the members are others, until `signal` is aborted. */
async function followMembers(members: Members, news: Notifier, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await members.changed.wait(undefined, signal);
    news.notify();
  }
}

/** Stream ends that wait to be told: one batch of the source's, and no next one before it has been taken. */
interface EndsInHand {
  /** The next ones to tell; none where there is no news. */
  take(): readonly StreamEnd[];
  /** In how many milliseconds to look again; Infinity: when `news` wakes. */
  waitMs(): number;
}

function followEnds(source: StreamEndSource, clock: Clock, news: Notifier, signal: AbortSignal): EndsInHand {
  const iterator = source.follow(signal)[Symbol.asyncIterator]();
  let held: readonly StreamEnd[] = [];
  let pulling = false;
  let pullAt = -Infinity;
  let failure: { readonly error: unknown } | undefined;

  async function pull(): Promise<void> {
    pulling = true;
    try {
      const next = await iterator.next();
      // A source that has ended is not asked again.
      if (next.done === true) return;
      held = next.value;
      pulling = false;
    } catch (error) {
      failure = { error };
    }
    news.notify();
  }

  return {
    take() {
      if (failure !== undefined) throw failure.error;
      if (held.length === 0) {
        if (!pulling && clock.monotonic() >= pullAt) void pull();
        return [];
      }
      const batch = held.slice(0, streamEndsMax);
      held = held.slice(streamEndsMax);
      pullAt = clock.monotonic() + streamEndsIntervalMs;
      return batch;
    },
    waitMs: () => (pulling ? Infinity : pullAt - clock.monotonic()),
  };
}

function readWatcher({ watcher }: WatchRequest): Member {
  const { id = "", endpoint = "", version = "" } = watcher ?? {};
  if (id === "") throw invalidField("watcher.id", "say which node watches");
  if (parseEndpoint(endpoint) === undefined) throw invalidField("watcher.endpoint", "give host:port");
  for (const [name, text] of Object.entries({ id, endpoint, version })) {
    if (text.length > memberTextLengthMax) {
      throw invalidField(`watcher.${name}`, `at most ${memberTextLengthMax} characters; this one has ${text.length}`);
    }
  }
  return { id, endpoint, version };
}
