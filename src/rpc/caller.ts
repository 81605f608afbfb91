/** The port through which a node calls other nodes. Requests and responses are wire bytes, as in `handlers.ts`. */

/** How a call is made. */
export interface CallerOptions {
  /** Ends the call. */
  readonly signal: AbortSignal;
  /** How long the call may take, in milliseconds; undefined: without limit. */
  readonly deadlineMs?: number | undefined;
  /** What is sent along, by lower-case name. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Calls other nodes, by `host:port`. What fails throws a VaultError, as `from-status.ts` reads the status. Two kinds
 * say what became of a request: `unavailable`, that it never left this node or that the other one did nothing;
 * `indeterminate`, that it was sent and nobody knows.
 */
export interface Caller {
  /** One request, one response. */
  unary(endpoint: string, path: string, request: Uint8Array, options: CallerOptions): Promise<Buffer>;
  /** One request, any number of responses. Nothing is read ahead but what the transport holds. */
  serverStream(endpoint: string, path: string, request: Uint8Array, options: CallerOptions): AsyncIterable<Buffer>;
  /**
   * Requests and responses in any order. The next request is asked for when the transport has taken the last one. Where
   * `requests` throws, the call is cut off and that error thrown.
   */
  duplex(
    endpoint: string,
    path: string,
    requests: AsyncIterable<Uint8Array>,
    options: CallerOptions,
  ): AsyncIterable<Buffer>;
  /** Closes all connections. What is under way fails. */
  close(): void;
}
