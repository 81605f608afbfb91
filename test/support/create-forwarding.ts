import { isKind, VaultError } from "../../src/errors.ts";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import { createForwarding } from "../../src/rpc/forwarding.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import type { CallContext, HandlerTable, WireBytes } from "../../src/rpc/handlers.ts";
import { observeHandlers } from "../../src/rpc/observe-calls.ts";
import { noTelemetry } from "../../src/telemetry.ts";
import type { Telemetry } from "../../src/telemetry.ts";
import { createCallNetwork } from "./create-call-network.ts";
import type { CallNetwork } from "./create-call-network.ts";
import { createClock } from "./create-clock.ts";
import type { ManualClock } from "./create-clock.ts";
import { createClusterView } from "./create-cluster-view.ts";
import type { TestClusterView } from "./create-cluster-view.ts";

/** The paths of the methods that tests call. */
export const paths = {
  publish: methodPath(VaultService.method.publish),
  publishStream: methodPath(VaultService.method.publishStream),
  getStream: methodPath(StreamService.method.getStream),
  listStreams: methodPath(StreamService.method.listStreams),
};

/** A node whose own handlers answer with its name, or as `answer` says. */
export interface ForwardingNode {
  readonly view: TestClusterView;
  readonly handlers: HandlerTable;
  handingOver: boolean;
  /** Makes the answer of this node's own handlers to each request. May throw. */
  answer: (request: string, context: CallContext) => Promise<string> | string;
}

/** Nodes that forward to each other, on one manual clock. */
export interface ForwardingCluster {
  readonly clock: ManualClock;
  readonly network: CallNetwork;
  readonly leaving: AbortController;
  start(name: string, telemetry?: Telemetry): ForwardingNode;
  /** All nodes learn that this one leads, under this epoch; undefined: nobody. */
  lead(name: string | undefined, epoch: number): void;
  /** Publishes at a node. */
  publish(node: ForwardingNode, request: string, context: CallContext): Promise<string>;
}

/** The settings that the nodes have. */
export const forwardingSettings = { leaderWaitMs: 10_000, pendingBytesMax: 1000 };

/** Makes a cluster without nodes. */
export function createForwardingCluster(): ForwardingCluster {
  const clock = createClock();
  const network = createCallNetwork();
  const leaving = new AbortController();
  const nodes = new Map<string, ForwardingNode>();
  return {
    clock,
    network,
    leaving,
    start(name, telemetry = noTelemetry) {
      const view = createClusterView(name);
      const options = { cluster: view, caller: network.caller, clock, leaving: leaving.signal };
      const handingOver = () => node.handingOver;
      const own = createHandlers(() => node);
      const forwarding = createForwarding(own, { ...options, handingOver, settings: forwardingSettings, telemetry });
      const handlers = observeHandlers(forwarding, clock, telemetry);
      const node: ForwardingNode = { view, handlers, handingOver: false, answer: (request) => `${name}: ${request}` };
      nodes.set(name, node);
      network.serve(view.endpoint, handlers);
      return node;
    },
    lead(name, epoch) {
      const leader = name === undefined ? undefined : { nodeId: name, endpoint: `${name}:50051`, epoch };
      for (const { view } of nodes.values()) view.lead(leader);
    },
    async publish({ handlers }, request, context) {
      const handler = handlers[paths.publish];
      if (handler?.kind !== "unary") throw new Error("not unary");
      return Buffer.from(await handler.handle(Buffer.from(request), context)).toString();
    },
  };
}

function createHandlers(node: () => ForwardingNode): HandlerTable {
  const unary = (needsLeader: boolean): HandlerTable[string] => ({
    kind: "unary",
    async handle(request, context) {
      if (needsLeader) assertLeads(node());
      return Buffer.from(await node().answer(request.toString(), context));
    },
  });
  return {
    [paths.publish]: unary(true),
    [paths.getStream]: unary(false),
    [paths.listStreams]: unary(false),
    [paths.publishStream]: {
      kind: "duplex",
      async *handle(requests, context): AsyncGenerator<WireBytes> {
        for await (const request of requests) {
          assertLeads(node());
          yield Buffer.from(await node().answer(request.toString(), context));
        }
      },
    },
  };
}

function assertLeads({ view, handingOver }: ForwardingNode): void {
  if (view.election.role !== "leader" || handingOver) throw new VaultError("unavailable", "does not lead any more");
}

/** The kind of error that a promise rejects with; undefined where it resolves. */
export async function kindOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error instanceof VaultError && isKind(error, error.kind) ? error.kind : String(error);
  }
}
