/** A process that answers calls, as the vault's gRPC server does: the same handlers, with the same statuses. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { CallContext, HandlerTable } from "../../src/rpc/handlers.ts";
import type { RpcStatus } from "../../src/rpc/status.ts";
import type { Host } from "./host.ts";
import { createMailbox } from "./mailbox.ts";
import type { VaultSource } from "./source.ts";
import type { Trace } from "./trace.ts";

/** What a call sends back: the transport carries it. */
export interface CallReplies {
  metadata(values: Readonly<Record<string, string>>): void;
  message(bytes: Buffer): void;
  status(status: RpcStatus): void;
  /** A request was taken: there is room for another. */
  taken(): void;
}

/** A call under way at the server. */
export interface ServerCall {
  request(bytes: Buffer): void;
  halfClose(): void;
  /** The caller took a response. */
  credit(): void;
  /** The caller is gone. */
  cancel(): void;
}

/** A call as it comes. */
export interface IncomingCall {
  readonly path: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly deadlineMs: number | undefined;
  readonly peer: string;
}

/** The server of one process. */
export interface RpcServer {
  /** How many calls are under way. */
  readonly calls: number;
  accept(call: IncomingCall, replies: CallReplies): ServerCall;
  /** Takes no more calls, ends streaming ones; resolves when all have ended, or after `graceMs`. */
  drain(graceMs: number): Promise<void>;
}

/** In what follows from a call that another node has passed on: that node's id. Such a call must not be passed on again. */
export const passedOnBy = new AsyncLocalStorage<string | undefined>();

/** How many messages may be under way in one direction of a call. */
export const windowMessages = 4;

/** Makes a server over `handlers`. `onFault` hears of errors that are no VaultErrors: faults in the code. */
export function createRpcServer(
  source: VaultSource,
  host: Host,
  handlers: HandlerTable,
  trace: Trace,
  onFault: (path: string, error: unknown) => void,
): RpcServer {
  const { VaultError } = source.errors;
  const { toStatus } = source.status;
  const streaming = new Set<AbortController>();
  const idle: (() => void)[] = [];
  let draining: Error | undefined;
  let calls = 0;

  async function answer(incoming: IncomingCall, state: CallState, replies: CallReplies): Promise<void> {
    const { path } = incoming;
    const handler = handlers[path];
    const name = `${path.slice(path.lastIndexOf("/") + 1)} of ${incoming.peer}`;
    trace.note(host.name, `begins ${name}`);
    calls++;
    const deadline =
      incoming.deadlineMs === undefined ? undefined : host.clock.timer(incoming.deadlineMs, () => state.gone.abort());
    try {
      if (draining !== undefined) throw draining;
      if (handler === undefined) throw new Error(`no handler for ${path}`);
      const context = createContext(incoming, state, replies);
      if (handler.kind === "unary") {
        const request = await firstOf(state.requests.values());
        const response = await handler.handle(request, context);
        replies.message(Buffer.from(response));
      } else {
        streaming.add(state.gone);
        const requests = readRequests(state, replies);
        const responses =
          handler.kind === "duplex"
            ? handler.handle(requests, context)
            : handler.handle(await firstOf(requests), context);
        for await (const response of responses) {
          const bytes = Buffer.allocUnsafe(response.byteLength);
          response.copy(bytes, 0);
          replies.message(bytes);
          if (--state.room <= 0 && !state.gone.signal.aborted) await state.waitForRoom();
        }
      }
      replies.status({ code: 0, message: "", details: undefined });
      trace.note(host.name, `ends ${name}`);
    } catch (error) {
      if (!(error instanceof VaultError) && !state.gone.signal.aborted) onFault(path, error);
      const status = toStatus(error);
      trace.note(host.name, `ends ${name} with ${status.code}: ${status.message}`);
      replies.status(status);
    } finally {
      deadline?.cancel();
      streaming.delete(state.gone);
      calls--;
      if (calls === 0) for (const resolve of idle.splice(0)) resolve();
    }
  }

  return {
    get calls() {
      return calls;
    },
    accept(incoming, replies) {
      const state = createState();
      void passedOnBy.run(incoming.metadata["messagevault-forwarded-by"], () => answer(incoming, state, replies));
      return {
        request: (bytes) => state.requests.push(bytes),
        halfClose: () => state.requests.end(),
        credit() {
          state.room++;
          state.wake();
        },
        cancel() {
          state.gone.abort();
        },
      };
    },
    async drain(graceMs) {
      const reason = new VaultError("unavailable", "this node shuts down: go on at another one, or here in a while");
      draining = reason;
      for (const call of streaming) call.abort(reason);
      if (calls === 0) return;
      await new Promise<void>((resolve) => {
        const timer = host.clock.timer(graceMs, resolve);
        idle.push(() => {
          timer.cancel();
          resolve();
        });
      });
    },
  };
}

interface CallState {
  readonly gone: AbortController;
  readonly requests: ReturnType<typeof createMailbox<Buffer>>;
  room: number;
  wake: () => void;
  waitForRoom(): Promise<void>;
}

function createState(): CallState {
  const state: CallState = {
    gone: new AbortController(),
    requests: createMailbox<Buffer>(),
    room: windowMessages,
    wake: () => {},
    waitForRoom: () => new Promise((resolve) => (state.wake = resolve)),
  };
  // A call that was given up is not held back any more, and its handler learns of it when it reads on.
  state.gone.signal.addEventListener("abort", () => {
    state.wake();
    state.requests.end(state.gone.signal.reason);
  });
  return state;
}

function createContext(incoming: IncomingCall, state: CallState, replies: CallReplies): CallContext {
  return {
    signal: state.gone.signal,
    deadlineMs: incoming.deadlineMs,
    peer: incoming.peer,
    metadata: { get: (name) => incoming.metadata[name] },
    sendMetadata: (values) => replies.metadata(values),
  };
}

async function* readRequests(state: CallState, replies: CallReplies): AsyncGenerator<Buffer> {
  for await (const request of state.requests.values(() => replies.taken())) {
    state.gone.signal.throwIfAborted();
    yield request;
  }
}

async function firstOf(requests: AsyncIterable<Buffer>): Promise<Buffer> {
  for await (const request of requests) return request;
  throw new Error("a call without a request");
}
