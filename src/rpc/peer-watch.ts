/**
 * Watches the leader for the election, and hears from it of commits and of the other nodes.
 *
 * One Watch call to the leader that is followed stands, or is begun anew after a short while. What is concluded:
 *
 *     message under the followed epoch or a later one   it lives and leads                        none
 *     its resignation of the followed epoch             it leads no more                          resigned
 *     "I do not lead", after it was heard leading       it leads no more                          resigned
 *     "I do not lead", never heard leading              perhaps not yet: resigned if it stays so for the suspicion time
 *     another node answers at its address               it is not there any more                  silent
 *     the call fails and its host refuses connections   its process is gone                       gone
 *     nothing for the suspicion time                    not known                                 silent
 *
 * Silence is counted in ticks, each of them as at most two tick lengths, however long it took: a node that was itself
 * frozen hears what waits in its sockets before it suspects anybody.
 *
 * Invariants: what a call brings counts only while the leader is followed that the call was made for. `feedStarted`
 * and `feedLost` of the sink alternate, and `learn` comes only between them.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { PeerService, WatchRequestSchema, WatchResponseSchema } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import type { StreamEnd as StreamEndMessage, WatchResponse } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import type { Clock, Timer } from "../clock.ts";
import { sleep } from "../clock.ts";
import { isKind } from "../errors.ts";
import type { Leader } from "../leader/leader.ts";
import { createObservable } from "../leader/observed.ts";
import type { Probe } from "../leader/probe.ts";
import type { Evidence, LeaderWatch } from "../leader/watch.ts";
import type { Log } from "../log.ts";
import type { StreamEnd, StreamEndSink } from "../stream/stream-end.ts";
import type { Caller } from "./caller.ts";
import type { ClusterView, KnownNodes, Member } from "./cluster-view.ts";
import { encodeResponse, methodPath } from "./handlers.ts";

/** What a watch needs. */
export interface PeerWatchOptions {
  /** This node, as it tells the leader of itself. */
  readonly self: Pick<ClusterView, "nodeId" | "endpoint" | "version">;
  readonly caller: Caller;
  readonly clock: Clock;
  readonly log: Log;
  readonly probe: Probe;
  /** Hears where streams end. */
  readonly sink: StreamEndSink;
  readonly settings: {
    /** How often a leader is heard at the least, in milliseconds. */
    readonly peerHeartbeatMs: number;
    /** How long a leader may be silent, in milliseconds. */
    readonly suspicionMs: number;
  };
}

/** A watch over gRPC. */
export interface PeerWatch extends LeaderWatch, KnownNodes {
  /** Ends the watch. */
  close(): void;
}

// A call that failed is made anew so long after, doubled each time up to the second.
const retryMsFirst = 100;
const retryMsMax = 1000;
// Silence is counted so many times in the suspicion time.
const ticksPerSuspicion = 20;
// After so many heartbeats without a word the streams are looked after in storage.
const feedHeartbeats = 3;

const watchPath = methodPath(PeerService.method.watch);
const nothing: Evidence = { kind: "none" };

/** The watch of one leader. */
interface Following {
  readonly leader: Leader;
  readonly ended: AbortController;
  silentMs: number;
  /** It was heard as the leader of the followed epoch. */
  heardLeading: boolean;
  /** The last that it said is that it does not lead. */
  saysNo: boolean;
  feeding: boolean;
}

/** Makes a watch of nobody yet. */
export function createPeerWatch(options: PeerWatchOptions): PeerWatch {
  const { clock, log, sink } = options;
  const { suspicionMs, peerHeartbeatMs } = options.settings;
  const evidence = createObservable<Evidence>(nothing);
  const tickMs = Math.max(10, Math.ceil(suspicionMs / ticksPerSuspicion));
  const feedMs = Math.min(suspicionMs, feedHeartbeats * peerHeartbeatMs);
  let following: Following | undefined;
  let heardAt: number | undefined;
  let known: KnownNodes = { watchers: [], leader: undefined };
  let ticking: Timer | undefined;

  function conclude(next: Evidence, why: string): void {
    const { kind } = evidence.value;
    // A process that is gone does not come back; whoever resigned may well be gone soon.
    if (kind === next.kind || (next.kind !== "none" && (kind === "gone" || kind === "resigned"))) return;
    const { endpoint = "", epoch = 0 } = following?.leader ?? {};
    if (next.kind !== "none") log.info("the leader may be replaced", { endpoint, epoch, evidence: next.kind, why });
    evidence.set(next);
  }

  function stop(): void {
    if (following === undefined) return;
    ticking?.cancel();
    following.ended.abort();
    loseFeed(following);
    following = undefined;
    heardAt = undefined;
    known = { watchers: [], leader: undefined };
    evidence.set(nothing);
  }

  function loseFeed(follow: Following): void {
    if (!follow.feeding) return;
    follow.feeding = false;
    sink.feedLost();
  }

  function tick(follow: Following, since: number): void {
    ticking = clock.timer(tickMs, () => {
      const now = clock.monotonic();
      follow.silentMs += Math.min(now - Math.max(since, heardAt ?? since), 2 * tickMs);
      if (follow.silentMs >= feedMs) loseFeed(follow);
      if (follow.silentMs >= suspicionMs) {
        if (follow.saysNo) conclude({ kind: "resigned", successor: undefined }, "it says that it does not lead");
        else conclude({ kind: "silent" }, `nothing was heard of it for ${suspicionMs} ms`);
      }
      tick(follow, now);
    });
  }

  function hear(follow: Following): void {
    follow.silentMs = 0;
    heardAt = clock.monotonic();
  }

  function hearLeading(follow: Following, response: WatchResponse): void {
    hear(follow);
    follow.heardLeading = true;
    follow.saysNo = false;
    conclude(nothing, "");
    if (!follow.feeding) {
      follow.feeding = true;
      sink.feedStarted();
    }
    if (response.watchers !== undefined) known = { ...known, watchers: response.watchers.members.map(toMember) };
    if (response.streamEnds.length > 0) sink.learn(response.streamEnds.map(toStreamEnd));
  }

  /** Takes in what the followed leader says. */
  function take(follow: Following, response: WatchResponse): void {
    const epoch = Number(response.epoch);
    if (response.leader !== undefined) known = { ...known, leader: toMember(response.leader) };
    if (response.resignation !== undefined) {
      if (epoch < follow.leader.epoch) return;
      hear(follow);
      loseFeed(follow);
      const { successorId } = response.resignation;
      conclude({ kind: "resigned", successor: successorId === "" ? undefined : successorId }, "it resigned");
    } else if (epoch >= follow.leader.epoch) {
      hearLeading(follow, response);
    } else if (follow.heardLeading) {
      loseFeed(follow);
      conclude({ kind: "resigned", successor: undefined }, "it says that it leads no more");
    } else {
      follow.saysNo = true;
    }
  }

  /** One Watch call. Resolves when it has ended, to whether something was heard; never rejects. */
  async function watchOnce(follow: Following): Promise<boolean> {
    const { leader, ended } = follow;
    const { nodeId: id, endpoint, version } = options.self;
    const request = encodeResponse(WatchRequestSchema, { watcher: { id, endpoint, version } });
    let heard = false;
    let isLeader = false;
    try {
      const responses = options.caller.serverStream(leader.endpoint, watchPath, request, { signal: ended.signal });
      for await (const bytes of responses) {
        const response = fromBinary(WatchResponseSchema, bytes);
        if (ended.signal.aborted) return heard;
        if (!isLeader && response.leader?.id !== leader.nodeId) {
          conclude({ kind: "silent" }, "another node answers at its address");
          return heard;
        }
        isLeader = true;
        heard = true;
        take(follow, response);
      }
    } catch (error) {
      if (ended.signal.aborted) return heard;
      log.debug("the watch of the leader broke", { endpoint: leader.endpoint, error });
      // Whatever else it may say, this node is there.
      if (!isKind(error, "unavailable", "indeterminate")) hear(follow);
      await probe(follow);
    }
    return heard;
  }

  async function probe(follow: Following): Promise<void> {
    loseFeed(follow);
    const { leader, ended } = follow;
    const result = await options.probe(leader.endpoint, ended.signal);
    if (!ended.signal.aborted && result === "refused") conclude({ kind: "gone" }, "its host refuses connections");
  }

  async function run(follow: Following): Promise<void> {
    let retryMs = retryMsFirst;
    while (!follow.ended.signal.aborted) {
      const heard = await watchOnce(follow);
      if (heard) retryMs = retryMsFirst;
      loseFeed(follow);
      await sleep(clock, retryMs * (0.5 + clock.random() / 2), follow.ended.signal);
      retryMs = Math.min(retryMsMax, retryMs * 2);
    }
  }

  return {
    evidence,
    get heardAt() {
      return heardAt;
    },
    get watchers() {
      return known.watchers;
    },
    get leader() {
      return known.leader;
    },
    follow(leader) {
      if (leader?.nodeId === following?.leader.nodeId && leader?.epoch === following?.leader.epoch) return;
      stop();
      if (leader === undefined) return;
      const ended = new AbortController();
      following = { leader, ended, silentMs: 0, heardLeading: false, saysNo: false, feeding: false };
      tick(following, clock.monotonic());
      void run(following);
    },
    close: stop,
  };
}

function toMember({ id, endpoint, version }: Member): Member {
  return { id, endpoint, version };
}

function toStreamEnd(end: StreamEndMessage): StreamEnd {
  const { stream, incarnation, startOffset, nextOffset, timestamp, segmentFirstOffset, position, deleted } = end;
  return {
    stream,
    incarnation,
    startOffset,
    nextOffset,
    timestamp: timestamp === undefined ? undefined : timestampMs(timestamp),
    segmentFirstOffset,
    position: Number(position),
    deleted,
  };
}
