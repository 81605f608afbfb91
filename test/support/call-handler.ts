/** Calls handlers as a simulation would: without a network. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { methodPath } from "../../src/rpc/handlers.ts";
import type { CallContext, HandlerTable } from "../../src/rpc/handlers.ts";

/** What a call carries beside its request, and what was sent along with its answer. */
export interface TestContext extends CallContext {
  readonly sent: Readonly<Record<string, string>>;
}

/** Makes the context of a call that waits for ever, unless told otherwise. */
export function createContext(
  given: Partial<Pick<CallContext, "signal" | "deadlineMs">> & { metadata?: Readonly<Record<string, string>> } = {},
): TestContext {
  const sent: Record<string, string> = {};
  return {
    signal: given.signal ?? new AbortController().signal,
    deadlineMs: given.deadlineMs,
    peer: "test",
    metadata: { get: (name) => given.metadata?.[name] },
    sendMetadata: (metadata) => void Object.assign(sent, metadata),
    sent,
  };
}

/** Calls a unary method of a table. */
export async function callHandler<I extends DescMessage, O extends DescMessage>(
  handlers: HandlerTable,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  context: CallContext = createContext(),
): Promise<MessageShape<O>> {
  const handler = handlers[methodPath(method)];
  if (handler?.kind !== "unary") throw new Error(`${method.name} is not unary`);
  const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
  return fromBinary(method.output, await handler.handle(bytes, context));
}
