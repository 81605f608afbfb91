import { Code } from "../../gen/google/rpc/code_pb.ts";
import { PeerService } from "../../gen/messagevault/peer/v1/peer_pb.ts";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import type { Histogram, Span, SpanName, Telemetry } from "../telemetry.ts";
import { readTraceContext, type TraceContext } from "../trace-context.ts";
import type { CallContext, Handler, HandlerTable, UnaryHandler, WireBytes } from "./handlers.ts";
import { methodPath } from "./handlers.ts";
import { toCode } from "./status.ts";

/** A call that is told of. */
interface ObservedCall {
  /** Runs a part of the call, with its span as the active one where it is recorded. */
  within<T>(run: () => T): T;
  /** It ended with this status. Once. */
  end(code: Code): void;
}

type Metadata = CallContext["metadata"];

/** The context that a caller sent along. */
export function readCallTrace(metadata: Metadata): TraceContext | undefined {
  const parent = metadata.get("traceparent");
  return parent === undefined ? undefined : readTraceContext(parent, metadata.get("tracestate"));
}

const codeNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(Code).map(([name, code]) => [code, name]),
);

const nameOf = (code: Code) => codeNames[code] ?? "UNKNOWN";

/** What says of a call that the server failed, and not the caller. [semantic conventions 1.45.0: gRPC server spans] */
const serverFaults: ReadonlySet<Code> = new Set([
  Code.UNKNOWN,
  Code.DEADLINE_EXCEEDED,
  Code.UNIMPLEMENTED,
  Code.INTERNAL,
  Code.UNAVAILABLE,
  Code.DATA_LOSS,
]);

/** Calls that stay open for as long as both sides live have no span: each response of a subscription has one. */
const untraced: ReadonlySet<string> = new Set(
  [VaultService.method.subscribe, PeerService.method.watch].map(methodPath),
);

/** The same handlers, whose calls are told of; the table itself where telemetry is off. */
export function observeHandlers(handlers: HandlerTable, clock: Clock, telemetry: Telemetry): HandlerTable {
  if (!telemetry.metering && !telemetry.tracing) return handlers;
  let active = 0;
  telemetry.observe("messagevault.calls.active", (report) => report(active));
  const durations = createDurations(telemetry, "rpc.server.call.duration", {});
  const observe = (path: string, handler: Handler): Handler => {
    const traced = telemetry.tracing && !untraced.has(path);
    const durationOf = durations(path);
    const begin = ({ metadata }: CallContext): ObservedCall => {
      const span = traced ? startCallSpan(telemetry, "call", path, readCallTrace(metadata) ?? null) : undefined;
      const call = observeCall(clock, telemetry, durationOf, span, (code) => serverFaults.has(code));
      active++;
      return {
        within: call.within,
        end(code) {
          active--;
          call.end(code);
        },
      };
    };
    switch (handler.kind) {
      case "unary":
        return { kind: "unary", handle: (request, context) => observeUnary(handler, request, context, begin(context)) };
      case "serverStream":
        return {
          kind: "serverStream",
          handle: (request, context) =>
            observeResponses(() => handler.handle(request, context), context, begin(context)),
        };
      case "duplex":
        return {
          kind: "duplex",
          handle: (requests, context) =>
            observeResponses(() => handler.handle(requests, context), context, begin(context)),
        };
    }
  };
  return Object.fromEntries(Object.entries(handlers).map(([path, handler]) => [path, observe(path, handler)]));
}

async function observeUnary(
  handler: UnaryHandler,
  request: Buffer,
  context: CallContext,
  call: ObservedCall,
): Promise<Uint8Array> {
  try {
    const answer = await call.within(() => handler.handle(request, context));
    call.end(Code.OK);
    return answer;
  } catch (error) {
    call.end(codeOf(error, context));
    throw error;
  }
}

/** Nothing but a look at how each step ends stands between the handler and who takes its responses. */
function observeResponses(
  begin: () => AsyncIterable<WireBytes>,
  context: CallContext,
  call: ObservedCall,
): AsyncIterableIterator<WireBytes> {
  let iterator: AsyncIterator<WireBytes> | undefined;
  let over = false;
  const end = (code: Code) => {
    if (!over) call.end(code);
    over = true;
  };
  const look = (step: IteratorResult<WireBytes>) => {
    if (step.done === true) end(Code.OK);
    return step;
  };
  const fail = (error: unknown) => {
    end(codeOf(error, context));
    throw error;
  };
  const next = () => (iterator ??= begin()[Symbol.asyncIterator]()).next();
  return {
    next: () => call.within(next).then(look, fail),
    async return() {
      // Whoever takes the responses takes no more: the client is gone.
      end(Code.CANCELLED);
      await iterator?.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The status that a call ends with. One whose client is gone may fail in any way. */
function codeOf(error: unknown, { signal }: CallContext): Code {
  return signal.aborted && !(signal.reason instanceof VaultError) ? Code.CANCELLED : toCode(error);
}

/** A call that is passed on to another node. */
export interface ForwardedCall {
  /** What is sent along instead of what the caller sent, where the call is recorded. */
  readonly trace: TraceContext | undefined;
  /** It ended, with this error if it failed. Once. */
  end(error?: unknown): void;
}

/** Tells of a call that is passed on to `endpoint`; undefined where telemetry is off. */
export type ObserveForward = (path: string, endpoint: string) => ForwardedCall | undefined;

/** Makes what tells of calls that this node passes on to others. */
export function createForwardObserver(clock: Clock, telemetry: Telemetry): ObserveForward {
  const durationsTo = new Map<string, ReturnType<typeof createDurations>>();
  return (path, endpoint) => {
    if (!telemetry.metering && !telemetry.tracing) return undefined;
    const place = placeOf(endpoint);
    let durations = durationsTo.get(endpoint);
    if (durations === undefined) {
      durations = createDurations(telemetry, "rpc.client.call.duration", place);
      durationsTo.set(endpoint, durations);
    }
    const span = startCallSpan(telemetry, "forward", path, undefined);
    span?.set(place);
    const call = observeCall(clock, telemetry, durations(path), span, (code) => code !== Code.OK);
    const end = (error?: unknown) => call.end(error === undefined ? Code.OK : toCode(error));
    return { trace: span?.context, end };
  };
}

function placeOf(endpoint: string) {
  const colon = endpoint.lastIndexOf(":");
  return { "server.address": endpoint.slice(0, colon), "server.port": Number(endpoint.slice(colon + 1)) };
}

function startCallSpan(
  telemetry: Telemetry,
  name: SpanName,
  path: string,
  parent: TraceContext | null | undefined,
): Span | undefined {
  const method = path.slice(1);
  const span = telemetry.startSpan(name, { subject: method, parent });
  span?.set(attributesOf(method));
  return span;
}

function attributesOf(method: string) {
  return { "rpc.system.name": "grpc", "rpc.method": method };
}

function observeCall(
  clock: Clock,
  telemetry: Telemetry,
  durationOf: (code: Code, failed: boolean) => Histogram,
  span: Span | undefined,
  isFault: (code: Code) => boolean,
): ObservedCall {
  const startedAt = clock.monotonic();
  return {
    within: (run) => (span === undefined ? run() : telemetry.within(span, run)),
    end(code) {
      const failed = isFault(code);
      durationOf(code, failed).record((clock.monotonic() - startedAt) / 1000);
      span?.set({ "rpc.status_code": nameOf(code) });
      span?.end(failed ? nameOf(code) : undefined);
    },
  };
}

/** The histograms of one metric, each made when it is first needed. */
function createDurations(
  telemetry: Telemetry,
  name: "rpc.server.call.duration" | "rpc.client.call.duration",
  values: Readonly<Record<string, string | number>>,
) {
  const known = new Map<string, Map<Code, Histogram>>();
  return (path: string) => {
    let byCode = known.get(path);
    if (byCode === undefined) known.set(path, (byCode = new Map()));
    const histograms = byCode;
    return (code: Code, failed: boolean): Histogram => {
      const made = histograms.get(code);
      if (made !== undefined) return made;
      const status = { "rpc.status_code": nameOf(code), ...(failed ? { "error.type": nameOf(code) } : {}) };
      const histogram = telemetry.histogram(name, { ...attributesOf(path.slice(1)), ...status, ...values });
      histograms.set(code, histogram);
      return histogram;
    };
  };
}
