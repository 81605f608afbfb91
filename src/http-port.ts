/**
 * A small HTTP port beside gRPC, for what watches over the vault: probes and scrapes. It has no TLS and no access
 * control, answers GET and HEAD only, and never reads a body.
 *
 * - `/livez`: this process answers.
 * - `/readyz`: 200 where this node can serve everything, else 503 and why not.
 * - `/metrics`: the metrics as Prometheus reads them, where they are on.
 */
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { VaultError } from "./errors.ts";
import type { Log } from "./log.ts";

/** What the port tells. */
export interface HttpPortSources {
  /** Why this node is not ready, in words; undefined where it is. */
  readonly hindrance: () => Promise<string | undefined>;
  /** The metrics in Prometheus' text format; undefined where there are none. */
  readonly metrics?: (() => Promise<string>) | undefined;
}

/** The port, open. */
export interface HttpPort {
  /** Where it is: host:port. */
  readonly address: string;
  /** Ends it, and cuts off what is under way. */
  close(): Promise<void>;
}

/** The most connections at a time; those above it are closed. A probe and a few scrapers need one each. */
const connectionsMax = 64;

/** How long a request may take to come in, and a connection may be silent between two, in milliseconds. */
const requestMsMax = 10_000;

const plainType = "text/plain; charset=utf-8";

/** The version of Prometheus' text format. [prometheus.io: Exposition formats] */
const metricsType = "text/plain; version=0.0.4; charset=utf-8";

/** What a request is answered. */
interface Answer {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
}

/** Opens the port; 0 is any that is free. Throws `unavailable` if it cannot be had. */
export async function openHttpPort(host: string, port: number, sources: HttpPortSources, log: Log): Promise<HttpPort> {
  const server = createServer({ requestTimeout: requestMsMax, headersTimeout: requestMsMax }, (request, response) => {
    void respond(request, response, sources, log);
  });
  server.maxConnections = connectionsMax;
  server.keepAliveTimeout = requestMsMax;
  await listen(server, host, port);
  const bound = server.address() as AddressInfo;
  return {
    address: `${host.includes(":") ? `[${host}]` : host}:${bound.port}`,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "another process listens there: choose another port" : error.message;
      const message = `cannot listen on ${host}:${port} for --http-port: ${why}`;
      reject(new VaultError("unavailable", message, { resource: `${host}:${port}` }, error));
    });
    server.listen(port, host.replace(/^\[(.*)\]$/, "$1"), resolve);
  });
}

/** Never throws: the answer is all that comes out. */
async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  sources: HttpPortSources,
  log: Log,
): Promise<void> {
  const failed = (error: unknown): Answer => {
    log.error("HTTP request failed", { path: request.url, error });
    return { status: 500, text: "failed; the log says why\n" };
  };
  const { status, text, type = plainType } = await answer(request, sources).catch(failed);
  const length = Buffer.byteLength(text);
  response.writeHead(status, { "content-type": type, "content-length": length, "cache-control": "no-store" });
  response.end(request.method === "HEAD" ? undefined : text);
}

async function answer({ method, url = "" }: IncomingMessage, { hindrance, metrics }: HttpPortSources): Promise<Answer> {
  if (method !== "GET" && method !== "HEAD") return { status: 405, text: "only GET and HEAD\n" };
  switch (url.replace(/\?.*$/s, "")) {
    case "/livez":
      return { status: 200, text: "ok\n" };
    case "/readyz": {
      const why = await hindrance();
      return why === undefined ? { status: 200, text: "ok\n" } : { status: 503, text: `not ready: ${why}\n` };
    }
    case "/metrics":
      if (metrics === undefined) return { status: 404, text: "metrics are off (OTEL_SDK_DISABLED)\n" };
      return { status: 200, text: await metrics(), type: metricsType };
    default:
      return { status: 404, text: "there are /livez, /readyz and /metrics\n" };
  }
}
