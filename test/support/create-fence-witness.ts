import type { IncomingHttpHeaders } from "node:http";

/** A request to storage, as it is sent on. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/**
 * Watches the requests of all nodes to storage from outside, and finds writes of an older epoch that storage accepted
 * though a newer leader had raised the segment's sequence number before they were sent on.
 */
export interface FenceWitness {
  /** Stale writes that were accepted, one line each. */
  readonly staleWrites: readonly string[];
  /** How many writes of an older epoch came after the raise of a newer one and were refused. */
  readonly refusedCount: number;
  /** Sees a request before it is sent on; what it returns sees the answer. */
  see(request: SeenRequest): (status: number, headers: IncomingHttpHeaders) => void;
}

const sequenceNumber = "x-ms-blob-sequence-number";

/** Makes a witness that has seen nothing yet. */
export function createFenceWitness(): FenceWitness {
  const raised = new Map<string, number>();
  const staleWrites: string[] = [];
  let refusedCount = 0;

  function seeWrite(blob: string, { headers }: SeenRequest) {
    const epoch = Number(headers["x-ms-if-sequence-number-eq"] ?? -1);
    const owner = raised.get(blob) ?? 0;
    return (status: number) => {
      if (epoch >= owner) return;
      if (status < 300) staleWrites.push(`${blob}: a write of epoch ${epoch} was accepted after a raise to ${owner}`);
      else refusedCount++;
    };
  }

  function seeRaise(blob: string) {
    return (status: number, headers: IncomingHttpHeaders) => {
      if (status < 300) raised.set(blob, Math.max(raised.get(blob) ?? 0, Number(headers[sequenceNumber] ?? 0)));
    };
  }

  return {
    staleWrites,
    get refusedCount() {
      return refusedCount;
    },
    see(request) {
      const { method, url, headers } = request;
      const { pathname: blob, searchParams } = new URL(url, "http://storage");
      const what = searchParams.get("comp");
      if (method === "PUT" && what === "page") return seeWrite(blob, request);
      if (method === "PUT" && what === "properties" && "x-ms-sequence-number-action" in headers) return seeRaise(blob);
      if (method === "PUT" && headers["x-ms-blob-type"] === "PageBlob") {
        return (status) => status < 300 && void raised.set(blob, Number(headers[sequenceNumber] ?? 0));
      }
      if (method === "DELETE") return (status) => status < 300 && void raised.delete(blob);
      return () => undefined;
    },
  };
}
