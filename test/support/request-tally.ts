import type { IncomingMessage } from "node:http";

/** The requests that one process has sent to storage, by what they ask for. */
export interface RequestTally {
  /** How many have arrived, those included that were not passed on. */
  readonly arrived: ReadonlyMap<string, number>;
  /** How many of them have an outcome: an answer that was sent back whole, or a broken connection. */
  readonly ended: ReadonlyMap<string, number>;
  /** Counts a request that arrives; what it returns is called when it has an outcome. */
  count(request: Pick<IncomingMessage, "method" | "url" | "headers">): () => void;
}

/** Makes a tally of nothing. */
export function createRequestTally(): RequestTally {
  const arrived = new Map<string, number>();
  const ended = new Map<string, number>();
  return {
    arrived,
    ended,
    count(request) {
      const what = nameRequest(request);
      arrived.set(what, (arrived.get(what) ?? 0) + 1);
      return () => void ended.set(what, (ended.get(what) ?? 0) + 1);
    },
  };
}

/**
 * What the vault's operations are called where requests are told apart by what goes over the wire: some are the same
 * there.
 */
export const wireNames: Readonly<Record<string, string>> = {
  read: "download",
  get: "download",
  list: "list",
  listFolders: "list",
  createPages: "createPages",
  createControl: "createPages",
};

const leaseNames: Readonly<Record<string, string>> = {
  acquire: "acquireLease",
  renew: "renewLease",
  release: "releaseLease",
  break: "breakLease",
};

/** What a request asks for, as its method, its query and its headers say. */
function nameRequest({ method = "", url = "", headers }: Pick<IncomingMessage, "method" | "url" | "headers">): string {
  const { searchParams } = new URL(url, "http://storage");
  const header = (name: string) => String(headers[name]);
  const [component, type] = [searchParams.get("comp"), searchParams.get("restype")];
  if (type === "account") return "accountInfo";
  if (component === "list") return "list";
  if (type === "container") return "createContainer";
  switch (component ?? "") {
    case "page":
      return header("x-ms-page-write") === "clear" ? "clearPages" : "writePages";
    case "pagelist":
      return "writtenEnd";
    case "properties":
      return "raiseFence";
    case "metadata":
      return "setMetadata";
    case "lease":
      return leaseNames[header("x-ms-lease-action")] ?? "unknown";
  }
  if (method === "PUT") return header("x-ms-blob-type") === "PageBlob" ? "createPages" : "put";
  return { GET: "download", HEAD: "properties", DELETE: "remove" }[method] ?? "unknown";
}
