import http from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { ExecutionContext } from "ava";

/** What goes wrong with a request. */
export type StorageFault =
  /** Is answered so, and not passed on. */
  | {
      readonly answer: number;
      readonly code?: string;
      readonly headers?: Record<string, string>;
      readonly text?: string;
    }
  /** The connection is reset before it is passed on. */
  | "reset"
  /** Is passed on and carried out; the connection is reset instead of an answer. */
  | "lost"
  /** Is never answered, and not passed on. */
  | "hang"
  /** Is passed on; half of the answer's body arrives. */
  | "cut"
  /** Is passed on; the answer gets these headers as well. */
  | { readonly headers: Record<string, string> };

/** A network between a store and Azurite that fails as it is told to. */
export interface StorageProxy {
  /** Where it listens: http://127.0.0.1:PORT. */
  readonly endpoint: string;
  /** The next `count` requests that match meet this fault. */
  inject(fault: StorageFault, count?: number, matches?: (request: http.IncomingMessage) => boolean): void;
  /** How many requests were passed on or met a fault. */
  requestCount(): number;
  /** Refuses connections from now on. */
  close(): Promise<void>;
}

interface Injection {
  readonly fault: StorageFault;
  readonly matches: (request: http.IncomingMessage) => boolean;
  left: number;
}

/** Makes a proxy in front of `target` (http://HOST:PORT), for as long as `t`. */
export async function createStorageProxy(t: ExecutionContext, target: string): Promise<StorageProxy> {
  const injections: Injection[] = [];
  let requestCount = 0;
  const agent = new http.Agent({ keepAlive: true });

  async function handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    requestCount += 1;
    const injection = injections.find(({ left, matches }) => left > 0 && matches(request));
    if (injection !== undefined) injection.left -= 1;
    const fault = injection?.fault;
    const body = await buffer(request);
    if (fault === "hang") return;
    if (fault === "reset") return void request.socket.resetAndDestroy();
    if (typeof fault === "object" && "answer" in fault) return answerError(response, fault);
    const answer = await forward(target, agent, request, body);
    if (fault === "lost") return void request.socket.resetAndDestroy();
    const extra = typeof fault === "object" ? fault.headers : {};
    response.writeHead(answer.status, { ...answer.headers, ...extra });
    if (fault !== "cut") return void response.end(answer.body);
    response.write(answer.body.subarray(0, answer.body.length / 2), () => request.socket.resetAndDestroy());
  }

  const server = http.createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  async function close(): Promise<void> {
    const closed = new Promise((resolve) => void server.close(resolve));
    server.closeAllConnections();
    await closed;
    agent.destroy();
  }
  t.teardown(close);
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    inject: (fault, count = 1, matches = () => true) => void injections.push({ fault, left: count, matches }),
    requestCount: () => requestCount,
    close,
  };
}

function answerError(response: http.ServerResponse, fault: Extract<StorageFault, { answer: number }>): void {
  const code = fault.code ?? "InternalError";
  const text = fault.text ?? "It failed.\nRequestId:1";
  const xml = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${text}</Message></Error>`;
  response.writeHead(fault.answer, { "content-type": "application/xml", "x-ms-error-code": code, ...fault.headers });
  response.end(xml);
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

function forward(target: string, agent: http.Agent, request: http.IncomingMessage, body: Buffer): Promise<Answer> {
  const { hostname, port } = new URL(target);
  const { method = "GET", url: path = "/", headers } = request;
  return new Promise((resolve, reject) => {
    const onward = http.request({ hostname, port, method, path, headers, agent }, (answer) => {
      buffer(answer).then(
        (bytes) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: bytes }),
        reject,
      );
    });
    onward.on("error", reject);
    onward.end(body);
  });
}
